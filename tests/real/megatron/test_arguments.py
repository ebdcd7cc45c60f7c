"""Which key sets which field of megatron.core's configuration. Imports the real thing, hence among the slow tests."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import LLAMA

from primus.errors import MissingError

pytestmark = pytest.mark.real


def built(*, gpu: bool = False, **values: Any) -> Any:
    from primus.backends.megatron.arguments import build

    return build(LLAMA | values, world_size=8, gpu=gpu)


@pytest.mark.parametrize(
    ("key", "value", "config", "field", "expected"),
    [
        ("norm_epsilon", 1e-6, "transformer", "layernorm_epsilon", 1e-6),
        ("num_experts", 8, "transformer", "num_moe_experts", 8),
        ("no_persist_layer_norm", False, "transformer", "persist_layer_norm", True),
        ("accumulate_allreduce_grads_in_fp32", True, "ddp", "grad_reduce_in_fp32", True),
        ("ddp_bucket_size", 1000, "ddp", "bucket_size", 1000),
        ("use_distributed_optimizer", True, "ddp", "use_distributed_optimizer", True),
        ("use_distributed_optimizer", True, "optimizer", "use_distributed_optimizer", True),
        ("adam_beta2", 0.9, "optimizer", "adam_beta2", 0.9),
        ("sequence_parallel", True, "transformer", "sequence_parallel", False),  # nothing to split without tensor
    ],
)
def test_key_sets_the_field(key: str, value: Any, config: str, field: str, expected: Any) -> None:
    assert getattr(getattr(built(**{key: value}), config), field) == expected


def test_names_become_dtypes_and_enum_members() -> None:
    import torch

    arguments = built(bf16=True, attention_backend="unfused")
    assert arguments.transformer.params_dtype == arguments.optimizer.params_dtype == torch.bfloat16
    assert arguments.transformer.attention_backend.name == "unfused"
    assert arguments.ddp.grad_reduce_in_fp32


def test_patterns_become_lists() -> None:
    arguments = built(num_experts=4, moe_layer_freq="([0]*1+[1]*3)")
    assert arguments.transformer.moe_layer_freq == [0, 1, 1, 1]


def test_null_means_the_default() -> None:
    assert built(norm_epsilon=None).transformer.layernorm_epsilon == 1e-5


def test_swiglu_sets_activation_and_width() -> None:
    config = built(swiglu=True, hidden_size=256, ffn_hidden_size=None).transformer
    assert config.gated_linear_unit
    assert config.activation_func.__name__ == "silu"
    assert config.ffn_hidden_size == 640


def test_query_groups_count_only_with_their_switch() -> None:
    assert built(group_query_attention=False).transformer.num_query_groups == 4


def test_batch_of_all_replicas_follows_from_one() -> None:
    arguments = built(global_batch_size=None, micro_batch_size=2, tensor_model_parallel_size=2)
    assert arguments.global_batch_size == 8


def test_what_megatron_refuses_is_a_problem_of_the_experiment() -> None:
    from primus.errors import ExperimentError

    with pytest.raises(ExperimentError, match=r"megatron\.core refuses these settings"):
        built(tensor_model_parallel_size=3, num_query_groups=None, group_query_attention=False)


@pytest.mark.parametrize(
    "asked",
    [{"fp8": "hybrid"}, {"fp4": "e2m1"}, {"context_parallel_size": 2}, {"transformer_impl": "transformer_engine"}],
)
def test_what_only_transformer_engine_does_is_not_ignored_without_it(asked: dict[str, Any]) -> None:
    with pytest.raises(MissingError, match=r"needs Transformer Engine, which is not installed here\.$"):
        built(**asked)


@pytest.mark.parametrize(
    ("gpu", "engine", "asked", "layers"),
    [
        (True, True, None, "transformer_engine"),
        (True, False, None, "local"),
        (False, True, None, "local"),
        (True, True, "local", "local"),
        (True, True, "transformer_engine", "transformer_engine"),
    ],
)
def test_layers_are_those_of_transformer_engine_where_it_is_unless_asked(
    gpu: bool, engine: bool, asked: str | None, layers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from megatron.core.models.gpt import gpt_layer_specs

    monkeypatch.setattr(gpt_layer_specs, "HAVE_TE", engine)
    assert built(gpu=gpu, transformer_impl=asked).transformer.transformer_impl == layers


@pytest.mark.parametrize(
    ("asked", "field"), [({"fp8": "hybrid"}, "fp8"), ({"context_parallel_size": 2}, "context_parallel_size")]
)
def test_what_only_transformer_engine_does_reaches_it(
    asked: dict[str, Any], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from megatron.core.models.gpt import gpt_layer_specs

    monkeypatch.setattr(gpt_layer_specs, "HAVE_TE", True)
    assert getattr(built(gpu=True, **asked).transformer, field) == asked[field]

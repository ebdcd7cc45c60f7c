"""Every key that an experiment may set reaches what it is for: a field of megatron.core's own objects, or our loop."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from primus import metrics
from primus.backends import megatron
from primus.backends.megatron import BACKEND, keys
from primus.experiment.domain import fit
from primus.experiment.schema import Key

pytestmark = pytest.mark.real

SCHEMA = BACKEND.schema()
PACKAGE = Path(megatron.__file__).parent
METRICS = Path(metrics.__file__).parent

TINY: dict[str, Any] = {
    "num_layers": 4,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "seq_length": 64,
    "micro_batch_size": 2,
    "train_iters": 20,
    "lr": 1.0e-3,
    "transformer_impl": "local",
}

MOE = {"num_experts": 8, "moe_router_topk": 2, "add_bias_linear": False}
TE = {"transformer_impl": "transformer_engine"}
FP8 = {**TE, "fp8": "hybrid", "fp8_recipe": "tensorwise"}
SELECTIVE = {"recompute_granularity": "selective"}
FULL = {"recompute_granularity": "full", "recompute_method": "block", "recompute_num_layers": 1}
STAGES = {"pipeline_model_parallel_size": 2}
CHUNKS = {**STAGES, "num_virtual_stages_per_pipeline_rank": 2}

VALUES: dict[str, Any] = {
    "window_size": [8, 0],
    "window_attn_skip_freq": "[1]*3+[0]",
    "no_rope_freq": "[0]*3+[1]",
    "moe_layer_freq": "[0]+[1]*3",
    "hierarchical_context_parallel_sizes": [2, 2],
    "pipeline_model_parallel_layout": "Ett|ttL",
    "recompute_modules": ["layernorm"],
    "offload_modules": ["core_attn"],
    "moe_router_load_balancing_type": "seq_aux_loss",
    "cp_comm_type": "a2a",
    "split": "90,5,5",
    "num_query_groups": 2,
    "decoder_first_pipeline_num_layers": 1,
    "decoder_last_pipeline_num_layers": 1,
    "account_for_embedding_in_pipeline_split": True,
    "moe_router_num_groups": 4,
    "moe_router_group_topk": 2,
    "fp8_recipe": "tensorwise",
    "config_logger_dir": "configs",
    "pipeline_model_parallel_size": 2,
    "num_distributed_optimizer_instances": 2,
    "min_lr": 1.0e-5,
    "data_path": ["a"],
    "train_data_path": ["a"],
    "valid_data_path": ["a"],
    "test_data_path": ["a"],
    "kv_channels": 32,
    "tensor_model_parallel_size": 2,
    "expert_model_parallel_size": 2,
    "expert_tensor_parallel_size": 2,
    "moe_expert_capacity_factor": 1.5,
    "exp_avg_dtype": "bf16",
    "exp_avg_sq_dtype": "bf16",
    "main_params_dtype": "fp16",
}
"""A valid value other than the default, where any_other() can't find one."""

WITH: dict[str, Mapping[str, Any]] = {
    "sequence_parallel": {"tensor_model_parallel_size": 2},
    "num_query_groups": {"group_query_attention": True},
    "fp8_wgrad": FP8,
    "fp8_param_gather": FP8,
    "fp8": TE,
    "fp4": TE,
    "fp4_param": {**TE, "fp4": "e2m1"},
    "num_layers_at_start_in_bf16": FP8,
    "num_layers_at_end_in_bf16": FP8,
    "reuse_grad_buf_for_mxfp8_param_ag": {**TE, "fp8": "e4m3", "fp8_param_gather": True},
    "recompute_granularity": {"recompute_num_layers": 1, "recompute_method": "block"},
    "recompute_method": {"recompute_granularity": "full", "recompute_num_layers": 1},
    "recompute_num_layers": {"recompute_granularity": "full", "recompute_method": "block"},
    "recompute_modules": SELECTIVE,
    "distribute_saved_activations": {**FULL, "tensor_model_parallel_size": 2},
    "decoder_first_pipeline_num_layers": STAGES,
    "decoder_last_pipeline_num_layers": STAGES,
    "account_for_embedding_in_pipeline_split": {"num_layers": 5, **STAGES},
    "account_for_loss_in_pipeline_split": {"num_layers": 5, **STAGES},
    "pipeline_model_parallel_layout": STAGES,
    "microbatch_group_size_per_vp_stage": CHUNKS,
    "overlap_p2p_comm": CHUNKS,
    "overlap_p2p_comm_warmup_flush": CHUNKS,
    "defer_embedding_wgrad_compute": {**STAGES, "gradient_accumulation_fusion": True},
    "fine_grained_activation_offloading": {"offload_modules": ["core_attn"]},
    "expert_model_parallel_size": MOE,
    "moe_ffn_hidden_size": MOE,
    "moe_router_padding_for_quantization": {**FP8, **MOE, "moe_token_dispatcher_type": "alltoall"},
    "moe_router_enable_expert_bias": {**MOE, "moe_router_score_function": "sigmoid"},
    "moe_router_group_topk": {**MOE, "moe_router_num_groups": 4},
    "moe_shared_expert_overlap": {**MOE, "moe_token_dispatcher_type": "alltoall"},
    "moe_pad_expert_input_to_capacity": {**MOE, "moe_expert_capacity_factor": 1.0},
    "moe_token_dispatcher_type": MOE,
    "context_parallel_size": TE,
    "use_te_activation_func": {"bias_gelu_fusion": False},
    "num_experts": {"moe_router_topk": 2, "add_bias_linear": False},
    "q_lora_rank": {"multi_latent_attention": True},
    "batch_invariant_mode": {"attention_backend": "flash"},
    "cpu_offloading": {"cpu_offloading_num_layers": 1},
    "glu_linear_offset": {"swiglu": True, "bias_swiglu_fusion": False},
    "activation_func_fp8_input_store": {"swiglu": True},
    "data_path": {"split": "99,1,0"},
}
"""Other keys that megatron.core wants to see beside this one."""

NEEDS_GPU_PACKAGES = {
    "apply_rope_fusion",
    "moe_permute_fusion",
    "symmetric_ar_type",
    "use_precision_aware_optimizer",
    "exp_avg_dtype",
    "exp_avg_sq_dtype",
    "main_params_dtype",
    "moe_router_padding_for_quantization",
}
"""megatron.core's own objects refuse them without Transformer Engine: what they are given is looked at instead."""

READ_WHILE_BUILDING = {
    "disable_bf16_reduced_precision_matmul": "sets PyTorch's own switch",
    "embedding_init_method_std": "goes into embedding_init_method",
    "init_method_std": "goes into init_method",
    "moe_layer_recompute": "goes into recompute_modules",
}
"""Fields that megatron.core reads in __post_init__ only."""

READ_HERE = {"expert_tensor_parallel_size", "hierarchical_context_parallel_sizes", "use_te_rng_tracker"}
"""Fields that our own code reads, to form process groups and seed generators as Megatron-LM's training does."""


def any_other(key: Key) -> Any:
    """A value in the key's domain that is not its default."""
    if key.name in VALUES:
        return VALUES[key.name]
    if key.choices:
        return next(choice for choice in key.choices if choice != key.default)
    kind = key.types[0]
    if kind == "bool":
        return not key.default
    if kind == "str":
        return f"another {key.name}"
    number = key.default or 0
    for candidate in (number + 1, number + 0.5, number / 2, number + 8):
        value = int(candidate) if kind == "int" else float(candidate)
        if value != key.default and _fits(key, value):
            return value
    raise AssertionError(f"no value for {key.name}; add one to VALUES")


def _fits(key: Key, value: Any) -> bool:
    try:
        return fit(key, value) == value
    except ValueError:
        return False


class Built:
    """What arguments.build made of one key beside the tiny model's."""

    def __init__(self, key: Key, value: Any) -> None:
        from megatron.core.models.gpt import gpt_layer_specs

        from primus.backends.megatron import arguments

        mla = {"multi_latent_attention": True} if "MLATransformerConfig" in key.source else {}
        values = {**TINY, **mla, **WITH.get(key.name, {}), key.name: value}
        with pytest.MonkeyPatch.context() as patch:
            if key.name in NEEDS_GPU_PACKAGES:
                patch.setattr(arguments, "_construct", lambda dataclass_type, fields: fields)
            patch.setattr(gpt_layer_specs, "HAVE_TE", True)
            self.arguments = arguments.build(values, world_size=8, gpu=False)

    def field(self, config: str, name: str) -> Any:
        """A field of one of the objects, or what the object was given."""
        if config == "GPTDatasetConfig":
            return self.arguments.dataset[name]
        built = {
            "TransformerConfig": self.arguments.transformer,
            "MLATransformerConfig": self.arguments.transformer,
            "OptimizerConfig": self.arguments.optimizer,
            "DistributedDataParallelConfig": self.arguments.ddp,
            "TrainingSettings": self.arguments.settings,
        }[config]
        return built[name] if isinstance(built, Mapping) else getattr(built, name)


def expected(form: str, value: Any) -> Any:
    """The field's value, worked out apart from arguments.py."""
    import torch
    from megatron.core.transformer.enums import AttnBackend

    match form:
        case "not":
            return not value
        case "enum":
            return AttnBackend[value]
        case "dtype":
            return {"bf16": torch.bfloat16, "fp16": torch.float16}[value]
        case "pair":
            return tuple(value)
        case "pattern":
            return {"[1]*3+[0]": [1, 1, 1, 0], "[0]*3+[1]": [0, 0, 0, 1], "[0]+[1]*3": [0, 1, 1, 1]}[value]
    return value


def routes(key: Key) -> Iterator[keys.Route]:
    """The fields that the schema says this key sets."""
    known = keys.ROUTES.get(key.name, ())
    for source in key.source.split(", "):
        config, _, field = source.partition(".")
        form = next((route.form for route in known if (route.config, route.field) == (config, field)), "same")
        yield keys.Route(config=config, field=field, form=form)


@pytest.mark.parametrize("name", sorted(SCHEMA.keys))
def test_the_key_reaches_the_fields_that_the_schema_names(name: str) -> None:
    key = SCHEMA.keys[name]
    value = any_other(key)
    assert _fits(key, value), value
    built = Built(key, value)
    for route in routes(key):
        found = built.field(route.config, route.field)
        if name == "pipeline_model_parallel_layout":
            found = found.input_data
        assert found == expected(route.form, value), route


@cache
def _read_by_our_code() -> frozenset[str]:
    """Settings that the loop and its metrics read: `settings.x`, or the plain value by its name."""
    found = set()
    for path in (*PACKAGE.glob("*.py"), *METRICS.rglob("*.py")):
        if path.name == "keys.py" or path == PACKAGE / "settings.py":
            continue
        owners = ("settings", "_settings", "self") if path == METRICS / "settings.py" else ("settings", "_settings")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name) if owner in owners:
                    found.add(name)
                case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
                    found.add(name)
    return frozenset(found)


def test_our_loop_reads_every_setting() -> None:
    from primus.backends.megatron.settings import TrainingSettings

    names = {field.name for field in dataclasses.fields(TrainingSettings)}
    assert sorted(names - _read_by_our_code()) == []


@cache
def _core() -> tuple[str, ...]:
    """The sources of megatron.core that a GPT pre-training runs through, without the dataclasses themselves."""
    root = Path(str(metadata.distribution("megatron-core").locate_file("megatron/core")))
    others = ("inference", "ssm", "export", "models/mamba", "models/bert", "models/T5", "models/retro", "models/vision")
    paths = [path for path in root.rglob("*.py") if not str(path.relative_to(root)).startswith(others)]
    return tuple(path.read_text() for path in paths if not path.name.endswith("_config.py"))


@pytest.mark.parametrize("name", sorted(SCHEMA.keys))
def test_megatron_core_reads_the_field_that_the_key_sets(name: str) -> None:
    for route in routes(SCHEMA.keys[name]):
        if route.config in ("TrainingSettings", keys.DATASET) or route.field in {*READ_WHILE_BUILDING, *READ_HERE}:
            continue
        reads = re.compile(rf"config\.{route.field}\b|attr\([^)]*[\"']{route.field}[\"']")
        assert any(reads.search(text) for text in _core()), route

"""Every argument of Megatron-LM and every key of upstream Primus is either a key of ours or has an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from primus.backends.megatron import keys
from primus.errors import Problem
from primus.experiment import Experiment, Schema, load, resolve
from primus.experiment.answers import find_answer, follow

DATA = Path(__file__).parent / "data"
ARGUMENTS: dict[str, Any] = json.loads((DATA / "megatron_lm_arguments.json").read_text())
"""The 649 arguments of Megatron-LM core_v0.16.1 with their defaults."""

UPSTREAM: dict[str, list[str]] = json.loads((DATA / "upstream_keys.json").read_text())
"""Keys of upstream's experiment files that are no Megatron arguments, with values as the files write them."""


@pytest.fixture
def problems(tmp_path: Path, schema: Schema) -> Callable[[str], list[Problem]]:
    """What checking these lines of `overrides:` finds, against the schema alone."""

    def check(lines: str) -> list[Problem]:
        path = tmp_path / "exp.yaml"
        text = indent(lines, " " * 6)
        path.write_text(f"modules:\n  pre_trainer:\n    framework: megatron\n    overrides:\n{text}\n")
        return resolve(load(path, environ={}), schema)[1]

    return check


def test_every_megatron_lm_argument_is_known(schema: Schema) -> None:
    assert len(ARGUMENTS) == 649
    assert [name for name in ARGUMENTS if name not in schema.keys and find_answer(name, schema) is None] == []


def test_every_upstream_key_is_known(schema: Schema) -> None:
    sections = {name.partition(".")[0] for name in schema.answers}
    assert [name for name in UPSTREAM if name not in schema.keys and name not in sections] == []


def test_megatron_lm_s_own_default_never_needs_an_answer(schema: Schema) -> None:
    harmed = {
        name: default
        for name, default in ARGUMENTS.items()
        if name in schema.answers
        and schema.answers[name].action != "renamed"
        and default not in schema.answers[name].harmless
    }
    assert harmed == {}


def test_fields_that_no_key_sets_have_an_answer(schema: Schema) -> None:
    fields = frozenset[str]().union(*keys.DERIVED.values())
    assert [name for name in fields if name not in schema.keys and name not in schema.answers] == []


def test_answers_give_a_reason(schema: Schema) -> None:
    for name, answer in schema.answers.items():
        assert answer.message.endswith("."), name
        assert answer.action == "renamed" or answer.harmless[:1] == (None,), name
        assert answer.action != "renamed" or answer.to, name


def test_renamed_keys_lead_to_a_key(schema: Schema) -> None:
    for name, answer in schema.answers.items():
        if answer.action == "renamed":
            assert follow(name, schema, None)[0] in schema.keys, name


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # applied
        ("norm_epsilon: 1.0e-6", []),
        ("moe_router_force_load_balancing: true", []),
        ("disable_last_saving: true", []),
        ("log_avg_skip_iterations: 2", []),
        ("check_for_nan_in_loss: false", ["warning"]),
        ("recompute_activations: true", ["warning"]),
        # off is harmless
        ("enable_primus_turbo: false", []),
        ("use_turbo_attention: '${PRIMUS_USE_TURBO_ATTENTION:false}'", []),
        ("auto_continue_train: false", []),
        ("lora: {enabled: false}", []),
        ("save: null", []),
        ("recompute_activations: false\nrecompute_granularity: full", []),
        ("grad_reduce_in_bf16: false", []),
        ("batch_size: null\nmicro_batch_size: 2", []),
        # a faster kernel, a report: training goes on without
        ("enable_primus_turbo: true", ["warning"]),
        ("use_turbo_deepep: true", ["warning"]),
        ("stderr_sink_level: DEBUG", ["warning"]),
        ("tensorboard_log_interval: 10", ["warning"]),
        ("GPU_MAX_HW_QUEUES: 4", ["warning"]),
        ("ckpt_format: torch", ["warning"]),
        ("cuda_graph_impl: local", ["warning"]),
        ("inference_max_requests: 16", ["warning"]),
        # training would differ
        ("attn_sink: true", ["error"]),
        ("swiglu_limit: 10.0", ["error"]),
        ("stage: sft", ["error"]),
        ("hybrid_attention_enabled: true", ["error"]),
        ("hc_use_sinkhorn: true", ["error"]),
        ("enable_turbo_attention_float8: true", ["error"]),
        ("train_samples: 1000", ["error"]),
        ("rampup_batch_size: [8, 8, 1000]", ["error"]),
        ("use_torch_fsdp2: true", ["error"]),
        ("moe_token_dropping: true", ["error"]),
        ("experimental_attention_variant: dsa", ["error"]),
        ("params_dtype: bf16", ["error"]),
    ],
)
def test_what_is_said_to_a_key(problems: Callable[[str], list[Problem]], line: str, expected: list[str]) -> None:
    assert [problem.severity for problem in problems(line)] == expected


def test_a_model_may_start_on_the_meta_device(problems: Callable[[str], list[Problem]]) -> None:
    assert problems("init_model_with_meta_device: true") == []


@pytest.mark.parametrize("line", ["lora: {enabled: true, dim: 16}", "lora: {enabled: true}"])
def test_low_rank_adapters_are_refused(problems: Callable[[str], list[Problem]], line: str) -> None:
    assert "error" in [problem.severity for problem in problems(line)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"virtual_pipeline_model_parallel_size": 2}, {"num_virtual_stages_per_pipeline_rank": 2}),
        ({"layernorm_epsilon": 1e-6}, {"norm_epsilon": 1e-6}),
        ({"recompute_activations": True}, {"recompute_granularity": "selective"}),
        ({"grad_reduce_in_bf16": True}, {"accumulate_allreduce_grads_in_fp32": False}),
        (
            {"use_rotary_position_embeddings": True, "position_embedding_type": None},
            {"position_embedding_type": "rope"},
        ),
        ({"persist_layer_norm": True}, {"no_persist_layer_norm": False}),
        ({"activation_func": "swiglu", "swiglu": None}, {"swiglu": True}),
    ],
)
def test_renamed_keys_are_applied(
    experiment: Callable[..., Experiment], schema: Schema, old: dict[str, Any], new: dict[str, Any]
) -> None:
    resolved, problems = resolve(experiment(**old), schema)
    assert [problem.severity for problem in problems] == ["warning"]
    assert {key: resolved.plain()[key] for key in new} == new


@pytest.mark.parametrize("name", sorted(UPSTREAM))
def test_upstream_s_values_are_never_unknown_or_of_the_wrong_type(
    problems: Callable[[str], list[Problem]], name: str
) -> None:
    said = [problem.message for value in UPSTREAM[name] for problem in problems(f"{name}: {value}")]
    assert [message for message in said if "unknown" in message or "expected" in message] == []


TYPICAL = """\
wandb_project: Primus
stderr_sink_level: DEBUG
log_avg_skip_iterations: 2
log_avg_reset_interval: 50
norm_epsilon: 1.0e-6
eod_mask_loss: true
init_method_std: 0.008
overlap_grad_reduce: true
overlap_param_gather: true
use_distributed_optimizer: true
gradient_accumulation_fusion: false
train_data_path: null
finetune: false
auto_continue_train: false
load: null
no_load_optim: null
no_save_rng: null
save: null
save_interval: 20000
disable_last_saving: true
ckpt_format: torch
enable_primus_turbo: true
use_turbo_attention: true
use_turbo_grouped_mlp: true
use_turbo_deepep: true
turbo_deepep_num_cu: 64
turbo_deepep_use_comm_stream: false
turbo_sync_free_moe_stage: 2
moe_use_fused_router_with_aux_score: true
moe_use_legacy_grouped_gemm: true
moe_shared_expert_overlap: false
moe_router_dtype: fp32
moe_permute_fusion: true
cross_entropy_fusion_impl: te
cross_entropy_loss_fusion: true
"""
"""What upstream's BF16 files set beside the sizes."""


def test_a_typical_upstream_file_checks_with_warnings_only(problems: Callable[[str], list[Problem]]) -> None:
    found = problems(TYPICAL)
    assert found
    assert [str(problem) for problem in found if problem.severity == "error"] == []

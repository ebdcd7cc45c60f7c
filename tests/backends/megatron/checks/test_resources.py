"""What depends on the launch: the number of processes, and whether there is a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.checks import CPU_RULES, PROCESSES
from primus.backends.megatron.checks.rule import Facts, Rule
from primus.experiment import Experiment, Schema
from primus.job import Resources

Make = Callable[..., Experiment]

MOE = {"num_experts": 4, "moe_router_topk": 2, "moe_aux_loss_coeff": 0.01}
TE = {"transformer_impl": "transformer_engine"}
PP2 = {"pipeline_model_parallel_size": 2}
TP2 = {"tensor_model_parallel_size": 2}
DISTRIBUTED = {"use_distributed_optimizer": True}
PRECISE = {**DISTRIBUTED, "use_precision_aware_optimizer": True}

PROCESS_CASES: list[tuple[int, dict[str, Any], str, str]] = [
    (3, TP2, "tensor_model_parallel_size", "= 2 does not divide the 3 processes"),
    (
        4,
        {**MOE, "expert_model_parallel_size": 2, "expert_tensor_parallel_size": 4},
        "expert_model_parallel_size",
        "does not divide the 4 processes",
    ),
    (8, {}, "global_batch_size", "micro_batch_size 2 × 8 replicas"),
    (4, {**DISTRIBUTED, "num_distributed_optimizer_instances": 3}, "num_distributed_optimizer_instances", "4 replicas"),
    (
        4,
        {**PP2, "num_virtual_stages_per_pipeline_rank": 2, "global_batch_size": 12},
        "global_batch_size",
        "in groups of microbatch_group_size_per_vp_stage",
    ),
]

CPU_CASES: list[tuple[dict[str, Any], str]] = [
    ({**MOE, "moe_grouped_gemm": True, "bf16": True}, "moe_grouped_gemm"),
    ({**MOE, "moe_permute_fusion": True}, "moe_permute_fusion"),
    ({**MOE, "moe_router_fusion": True}, "moe_router_fusion"),
    ({**MOE, "moe_token_dispatcher_type": "flex"}, "moe_token_dispatcher_type"),
    ({"apply_rope_fusion": True}, "apply_rope_fusion"),
    ({"fused_single_qkv_rope": True}, "fused_single_qkv_rope"),
    ({"gradient_accumulation_fusion": True}, "gradient_accumulation_fusion"),
    ({"memory_efficient_layer_norm": True}, "memory_efficient_layer_norm"),
    ({"use_te_activation_func": True, "bias_swiglu_fusion": False}, "use_te_activation_func"),
    ({"te_rng_tracker": True}, "te_rng_tracker"),
    (PRECISE, "use_precision_aware_optimizer"),
    ({**PRECISE, "optimizer_cpu_offload": True}, "optimizer_cpu_offload"),
    ({"cpu_offloading": True, "cpu_offloading_num_layers": 1}, "cpu_offloading"),
    (
        {"fine_grained_activation_offloading": True, "offload_modules": ["mlp_norm"]},
        "fine_grained_activation_offloading",
    ),
    ({"batch_invariant_mode": True, "attention_backend": "flash"}, "batch_invariant_mode"),
    ({"nccl_ub": True}, "nccl_ub"),
    ({"context_parallel_size": 2}, "context_parallel_size"),
    ({"fp8": "hybrid"}, "fp8"),
    ({"fp4": "e2m1"}, "fp4"),
    ({"symmetric_ar_type": "one_shot"}, "symmetric_ar_type"),
    (TE, "transformer_impl"),
    ({"attention_backend": "fused"}, "attention_backend"),
    ({"no_persist_layer_norm": False}, "no_persist_layer_norm"),
    ({"masked_softmax_fusion": True, "bf16": True}, "masked_softmax_fusion"),
    ({"cross_entropy_loss_fusion": True, "cross_entropy_fusion_impl": "te"}, "cross_entropy_loss_fusion"),
]


@pytest.mark.parametrize(("processes", "changes", "key", "words"), PROCESS_CASES)
def test_an_impossible_number_of_processes_is_found(
    experiment: Make, processes: int, changes: dict[str, Any], key: str, words: str
) -> None:
    assert BACKEND.check(experiment(**changes)) == []
    (problem,) = BACKEND.check(experiment(**changes), Resources(nproc_per_node=processes, accelerator="amd"))
    assert [problem.key.rpartition(".")[2]] == [key]
    assert words in problem.message


@pytest.mark.parametrize(("changes", "key"), CPU_CASES)
def test_what_needs_a_gpu_is_refused_on_a_cpu_only(experiment: Make, changes: dict[str, Any], key: str) -> None:
    asked = experiment(**changes)
    on_cpu = BACKEND.check(asked, Resources(nproc_per_node=2))
    on_gpu = BACKEND.check(asked, Resources(nproc_per_node=2, accelerator="amd"))
    assert any(problem.key.endswith(f".{key}") for problem in on_cpu if "GPU" in problem.message)
    assert not [problem for problem in on_gpu if "GPU" in problem.message]


Prove = Callable[[tuple[Rule, ...], list[Facts]], None]


def test_every_rule_about_processes_is_broken_by_some_case(experiment: Make, schema: Schema, prove: Prove) -> None:
    launches = [(changes, Resources(nproc_per_node=processes)) for processes, changes, *_ in PROCESS_CASES]
    prove(PROCESSES, [Facts(experiment(**changes), schema, resources) for changes, resources in launches])


def test_every_rule_about_gpus_is_broken_by_some_case(experiment: Make, schema: Schema, prove: Prove) -> None:
    prove(CPU_RULES, [Facts(experiment(**changes), schema, Resources()) for changes, _ in CPU_CASES])


@pytest.mark.parametrize("keys", [{"disable_wandb": False}, {"wandb_project": "llama"}])
def test_service_whose_package_is_not_here_is_found_at_a_launch(
    keys: dict[str, Any], experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    made = experiment(**keys)
    problems = BACKEND.check(made, Resources(nproc_per_node=1, accelerator="cpu"))
    (found,) = [problem for problem in problems if problem.severity == "missing"]
    assert found.key.endswith(next(iter(keys)))
    assert "pip install 'primus[wandb]'" in found.message
    assert not [problem for problem in BACKEND.check(made) if problem.severity == "missing"]

"""Each patch of megatron.core is still needed: without it the real thing fails, in the way that its reason says."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from conftest import EXPERTS, LATENT, MegatronRun, Start

pytestmark = pytest.mark.real

SHORT: dict[str, Any] = {"train_iters": 2, "lr_warmup_iters": 0, "num_layers": 2, "disable_last_saving": True}
FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "torch.cuda: device, streams, synchronisation": ({}, "Torch not compiled with CUDA enabled"),
    "torch.cuda: random numbers": ({}, "Torch not compiled with CUDA enabled"),
    "torch.tensor, zeros, ones, empty and empty_like": ({}, "Torch not compiled with CUDA enabled"),
    "torch.Tensor.cuda and type": ({}, "== 'torch.cuda.FloatTensor'"),
    "maybe_move_tensor_to_cpu": ({"processes": 2, "expert_model_parallel_size": 2, **EXPERTS}, "TypeError"),
    "torch.distributed: all_gather, reduce_scatter": (
        {"processes": 4, "expert_model_parallel_size": 2, "expert_tensor_parallel_size": 2, **EXPERTS},
        "invalid tensor size",
    ),
    "WrappedTorchNorm": (
        {"processes": 2, "tensor_model_parallel_size": 2, "sequence_parallel": True},
        "sequence parallel not supported by torch LayerNorm",
    ),
    "DotProductAttention": (LATENT, "unexpected keyword argument 'k_channels'"),
    "multi_latent_attention.HAVE_TE": (LATENT, "isinstance() arg 2 must be a type"),
    "CheckpointWithoutOutput": (
        {"recompute_granularity": "selective", "recompute_modules": ["layernorm"]},
        "name 'FP8GlobalStateManager' is not defined",
    ),
    "moe_utils.te_general_gemm": (EXPERTS, "name 'te_general_gemm' is not defined"),
}
"""Patch → a run that fails without it, and how."""


@pytest.mark.parametrize("target", FAILURES)
def test_run_fails_without(target: str, start: Start) -> None:
    options, message = FAILURES[target]
    run = start(f"without-{list(FAILURES).index(target)}", leave_out=target, **SHORT | options)
    assert any(run.wait())
    assert message in run.log() + run.log(len(run.processes) - 1)


@pytest.fixture(scope="module")
def distributed(train: Start) -> MegatronRun:
    """Steps of the distributed optimizer, of which a checkpoint is left after 10."""
    return train("distributed", use_distributed_optimizer=True, save_interval=10)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("DistributedOptimizer.sharded_state_dict", "assert len(steps) == 1"),
        ("DistributedOptimizer._set_main_param_and_optimizer_states", "KeyError: 'step'"),
    ],
)
def test_resuming_fails_without(target: str, message: str, start: Start, distributed: MegatronRun) -> None:
    options = {"leave_out": target, "use_distributed_optimizer": True}
    run = start(f"resumed-without-{target}", after=distributed, at=10, **options)
    assert run.wait() == [1]
    assert message in run.log()


def test_resumed_run_differs_without_a_step_of_its_own(train: Start, distributed: MegatronRun) -> None:
    options = {"leave_out": "DistributedOptimizer.load_state_dict", "use_distributed_optimizer": True}
    losses = train("one-step-for-all", after=distributed, at=10, **options).metric("loss")
    assert losses[20] != pytest.approx(distributed.metric("loss")[20], rel=1e-4)


def test_gradients_differ_without_those_of_all_heads(train: Start) -> None:
    values = SHORT | LATENT | {"init_method_std": 0.2}  # positions matter little to smaller weights
    split = values | {"processes": 2, "tensor_model_parallel_size": 2, "sequence_parallel": True}
    alone = train("latent-alone", **values).metric("grad_norm")[1]
    right = train("latent", **split).metric("grad_norm")[1]
    wrong = train("latent-without", leave_out="MLASelfAttention", **split).metric("grad_norm")[1]
    assert right == pytest.approx(alone, rel=1e-5)
    assert wrong != pytest.approx(alone, rel=1e-3)


def test_functions_are_compiled_without_the_patch() -> None:
    code = (
        "from primus.backends.megatron import cpu; cpu.patch.leave_out('torch.compile'); cpu.install();"
        "from megatron.core.fusions.fused_bias_swiglu import swiglu;"
        "print(hasattr(swiglu, '_torchdynamo_orig_callable'))"
    )
    environ = {name: value for name, value in os.environ.items() if name != "TORCHDYNAMO_DISABLE"}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=environ).splitlines()[-1] == "True"


def test_every_patch_is_tried() -> None:
    code = (
        "from primus.backends.megatron import cpu, local_layers, torch_adamw;"
        "print(*(p.target for t in (cpu, local_layers, torch_adamw) for p in t.patch.all), sep='\\n')"
    )
    targets = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    elsewhere = {"torch.compile", "MLASelfAttention"} | {
        target for target in targets if target.startswith("DistributedOptimizer.")
    }
    assert set(targets) == set(FAILURES) | elsewhere
    assert len(elsewhere) == 5

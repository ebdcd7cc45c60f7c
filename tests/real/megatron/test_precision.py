"""Half precision with what keeps it stable, and recomputation: the same numbers in less memory."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import LLAMA, MegatronRun, Start
from test_layouts import MODELS

pytestmark = pytest.mark.real

DROPOUT = {"hidden_dropout": 0.1, "attention_dropout": 0.1}  # recomputed with the same random numbers
SELECTIVE = {"recompute_granularity": "selective"}
FULL = {"recompute_granularity": "full"}

PROBES: dict[str, dict[str, Any]] = {
    "float32": {},
    "bf16": {"bf16": True},
    "bf16, all of it": {"bf16": True, "accumulate_allreduce_grads_in_fp32": False},
    "fp16": {"fp16": True, "initial_loss_scale": 2**23, "hysteresis": 1},
    "fp16, fixed": {"fp16": True, "loss_scale": 128.0},
    "attention": SELECTIVE,
    "attention and feed-forward": {**SELECTIVE, "recompute_modules": ["core_attn", "mlp"]},
    "norms": {**SELECTIVE, "recompute_modules": ["layernorm"]},
    "every layer": {**FULL, "recompute_method": "uniform", "recompute_num_layers": 1},
    "all layers in twos": {**FULL, "recompute_method": "uniform", "recompute_num_layers": 2},
    "the first layer": {**FULL, "recompute_method": "block", "recompute_num_layers": 1},
    "DeepSeek": MODELS["DeepSeek"],
    "DeepSeek, parts": {
        **MODELS["DeepSeek"],
        **SELECTIVE,
        "recompute_modules": ["mla_up_proj", "moe", "layernorm"],
    },
    "DeepSeek, every layer": {
        **MODELS["DeepSeek"],
        **FULL,
        "recompute_method": "uniform",
        "recompute_num_layers": 1,
    },
}


@pytest.fixture(scope="module")
def probed() -> dict[str, Any]:
    """What probe.py found of each model, by name."""
    values = [
        {**LLAMA, **DROPOUT, "no_persist_layer_norm": True, "lr_warmup_iters": 0, "steps": 4, **each}
        for each in PROBES.values()
    ]
    plain = [json.dumps({key: value for key, value in each.items() if value is not None}) for each in values]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("probe.py")), *plain]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    return dict(zip(PROBES, json.loads(run.stdout.splitlines()[-1]), strict=True))


def losses(facts: dict[str, Any]) -> list[float]:
    return [step["loss"] for step in facts["steps"]]


def test_bf16_keeps_gradients_and_the_optimizer_in_float32(probed: dict[str, Any]) -> None:
    facts = probed["bf16"]
    assert facts["weights"] == ["torch.bfloat16"]
    assert facts["gradients"] == facts["main"] == ["torch.float32"]
    assert losses(facts) == pytest.approx(losses(probed["float32"]), rel=2e-3)
    assert losses(facts) != losses(probed["float32"])
    assert facts["kept"] < 0.7 * probed["float32"]["kept"]


def test_gradients_of_bf16_can_be_bf16(probed: dict[str, Any]) -> None:
    assert probed["bf16, all of it"]["gradients"] == ["torch.bfloat16"]
    assert probed["bf16, all of it"]["main"] == ["torch.float32"]


def test_overflow_in_fp16_halves_the_scale_and_leaves_the_weights(probed: dict[str, Any]) -> None:
    steps = probed["fp16"]["steps"]
    overflows = [step for step in steps if not step["updated"]]
    assert 0 < len(overflows) < len(steps)
    for step, after in itertools.pairwise(steps):
        assert step["moved"] == step["updated"]
        assert after["scale"] == (step["scale"] if step["updated"] else step["scale"] / 2)


def test_fp16_with_a_fixed_scale_trains_as_float32_does(probed: dict[str, Any]) -> None:
    facts = probed["fp16, fixed"]
    assert facts["weights"] == ["torch.float16"]
    assert facts["main"] == ["torch.float32"]
    assert {step["scale"] for step in facts["steps"]} == {128}
    assert losses(facts) == pytest.approx(losses(probed["float32"]), rel=1e-3)


def test_overflow_in_fp16_is_reported_and_the_run_goes_on(train: Start) -> None:
    scaling = {"initial_loss_scale": 2**24, "hysteresis": 1, "disable_last_saving": True}
    run = train("fp16", fp16=True, train_iters=10, **scaling)
    scales = run.metric("loss_scale")
    halved = [step for step in range(2, 11) if scales[step] < scales[step - 1]]
    assert halved
    assert f"step {halved[0]} " in run.log()
    assert f"overflow in fp16, the weights stay, the loss scale is {scales[halved[0]]:g} now" in run.log()
    assert run.metric("loss")[10] < run.metric("loss")[1]


RECOMPUTED = {name: "DeepSeek" if "DeepSeek" in name else "float32" for name in list(PROBES)[5:] if name != "DeepSeek"}


@pytest.mark.parametrize("name", RECOMPUTED)
def test_recomputing_changes_no_number_and_saves_memory(name: str, probed: dict[str, Any]) -> None:
    facts, plain = probed[name], probed[RECOMPUTED[name]]
    assert losses(facts) == pytest.approx(losses(plain), rel=1e-6)
    assert [step["grad_norm"] for step in facts["steps"]] == pytest.approx(
        [step["grad_norm"] for step in plain["steps"]], rel=1e-6
    )
    assert facts["kept"] < plain["kept"]


def test_the_more_is_recomputed_the_less_is_kept(probed: dict[str, Any]) -> None:
    names = (
        "float32",
        "the first layer",
        "attention",
        "attention and feed-forward",
        "every layer",
        "all layers in twos",
    )
    sizes = [probed[name]["kept"] for name in names]
    assert sizes == sorted(sizes, reverse=True)


def test_weights_of_a_checkpoint_need_not_be_drawn_first(train: Start, straight: MegatronRun) -> None:
    source = {"load": str(straight.checkpoints.path), "ckpt_step": 10}
    run = train("not-drawn", perform_initialization=False, disable_last_saving=True, train_iters=20, **source)
    assert run.metric("loss") == {step: straight.metric("loss")[step] for step in range(11, 21)}


def test_weights_that_nobody_drew_are_not_trained(start: Start) -> None:
    run = start("nothing-drawn", perform_initialization=False)
    assert run.wait() == [3]
    assert "draws no weights, and there is no checkpoint that brings them" in run.log()

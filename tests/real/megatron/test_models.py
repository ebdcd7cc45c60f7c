"""Every model preset trains: a tiny version of it, which differs from it in sizes only. Presets with the same tiny
version share a run."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import LLAMA, MegatronRun, Start
from tiny import SIZES, presets, shrink

pytestmark = pytest.mark.real

PRESETS = presets()
HERE = Path(__file__).parent

TRAINING = {
    key: LLAMA[key]
    for key in (
        "tokenizer_type",
        "make_vocab_size_divisible_by",
        "mock_data",
        "split",
        "num_workers",
        "create_attention_mask_in_dataloader",
        "seq_length",
        "micro_batch_size",
        "lr",
        "log_interval",
    )
} | {"global_batch_size": 4, "train_iters": 4}
ON_A_CPU = {"moe_grouped_gemm": False}

models = pytest.mark.parametrize("name", PRESETS)


def with_key(key: str, value: Any = None) -> list[str]:
    return [name for name, preset in PRESETS.items() if key in preset and value in (None, preset[key])]


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    """What build_tiny.py found, by preset."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    command = [sys.executable, "-W", "ignore", str(HERE / "build_tiny.py")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


class Runs:
    """The run of each tiny version, made when it is first asked for."""

    def __init__(self, train: Start) -> None:
        self._train = train
        self._made: dict[str, MegatronRun] = {}

    def __call__(self, name: str) -> MegatronRun:
        tiny = json.dumps(shrink(PRESETS[name]))
        if tiny not in self._made:
            nothing = dict.fromkeys(LLAMA)
            values = nothing | shrink(PRESETS[name]) | TRAINING | ON_A_CPU
            self._made[tiny] = self._train(f"model-{name}", **values)
        return self._made[tiny]


@pytest.fixture(scope="module")
def runs(train: Start) -> Runs:
    return Runs(train)


def test_there_are_all_presets() -> None:
    assert len(PRESETS) == 31


@models
def test_tiny_version_differs_in_sizes_only(name: str) -> None:
    full, tiny = PRESETS[name], shrink(PRESETS[name])
    assert tiny.keys() == full.keys()
    assert {key for key in full if tiny[key] != full[key]} <= SIZES.keys()
    assert all(tiny[key] <= full[key] for key in SIZES if isinstance(full.get(key), int))


@models
def test_tiny_version_is_made_of_the_same_parts(name: str, built: dict[str, Any]) -> None:
    assert built[name]["same"]


@models
def test_tiny_version_learns(name: str, runs: Runs) -> None:
    run = runs(name)
    loss = run.metric("loss")
    assert list(loss) == [1, 2, 3, 4]
    assert loss[1] == pytest.approx(math.log(256), abs=0.2)
    assert loss[4] < loss[1]


@pytest.mark.parametrize("name", with_key("num_experts"))
def test_load_balancing_is_measured(name: str, runs: Runs) -> None:
    kind = PRESETS[name]["moe_router_load_balancing_type"]
    metric = {"aux_loss": "moe_load_balancing_loss", "seq_aux_loss": "moe_seq_load_balancing_loss"}[kind]
    balance = runs(name).metric(metric)
    assert list(balance) == [1, 2, 3, 4]
    assert all(0.9 < value < 2 for value in balance.values())  # 1 when all experts are used alike
    assert all(value >= 1 for value in runs(name).metric("moe_imbalance").values())


@pytest.mark.parametrize("name", with_key("mtp_num_layers"))
def test_prediction_of_a_second_token_is_learned(name: str, runs: Runs) -> None:
    second = runs(name).metric("mtp_1_loss")
    assert list(second) == [1, 2, 3, 4]
    assert second[4] < second[1]


@pytest.mark.parametrize("name", with_key("moe_router_enable_expert_bias"))
def test_bias_of_experts_follows_their_load(name: str, runs: Runs) -> None:
    from torch.distributed.checkpoint import FileSystemReader, load

    run = runs(name)
    reader = FileSystemReader(run.checkpoints.path_of(4))
    found = reader.read_metadata().state_dict_metadata
    keys = [key for key in found if key.endswith("expert_bias")]
    import torch

    state = {key: torch.empty(found[key].size) for key in keys}
    load(state, storage_reader=reader, no_dist=True)
    rate = PRESETS[name]["moe_router_bias_update_rate"]
    steps = torch.cat([bias.flatten() for bias in state.values()]) / rate
    assert keys
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert 0 < steps.abs().max() <= 4.001
    assert steps.min() < 0 < steps.max()


@pytest.mark.parametrize("name", with_key("moe_router_group_topk"))
def test_tokens_go_to_few_groups_of_experts(name: str, built: dict[str, Any]) -> None:
    preset = PRESETS[name]
    most = preset["moe_router_group_topk"]
    assert most < preset["moe_router_num_groups"]
    assert built[name]["groups"]
    assert set(built[name]["groups"]) == {most}

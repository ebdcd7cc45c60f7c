"""A real training on two nodes of the cluster, against the same one on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Desk, read

pytestmark = pytest.mark.real

VALUES = (
    "mock_data=true",
    "data_path=null",
    "train_iters=3",
    "micro_batch_size=2",
    "lr_warmup_iters=0",
    "log_interval=1",
)
TINY = ("--exp", "megatron/tiny_llama", *(word for value in VALUES for word in ("--set", value)))


def test_two_nodes_learn_what_two_processes_of_one_machine_learn(desk: Desk) -> None:
    size = ("--nnodes", "2", "--nproc-per-node", "1", "--gpus-per-node", "0")
    done = desk.primus("slurm", "submit", *TINY, *size, "--set", "exp_name=far", "--json", "--wait")
    assert done.returncode == 0, done.stderr
    far = Path(json.loads(done.stdout)["runs"][0]["run"])
    assert read(far / "status.json")["state"] == "succeeded"
    assert read(far / "manifest.json")["resources"]["nnodes"] == 2

    here = desk.primus("train", *TINY, "--nproc-per-node", "2", "--set", "exp_name=near")
    assert here.returncode == 0, here.stderr
    (near,) = (far.parents[2] / "near/runs").iterdir()
    assert losses(far) == losses(near)


def losses(run: Path) -> list[float]:
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = [step["loss"] for step in steps if "loss" in step]
    assert len(found) == 3
    return found

"""Workloads that really train: pods of the stand-in server are processes of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safe_server import NEW, OLD, SafeServer, serving

pytestmark = pytest.mark.real

TINY = Path(__file__).parents[3] / "configs/experiments/megatron/tiny_llama.yaml"

SMALL = (
    *("mock_data=true", "data_path=null", "tokenizer_type=NullTokenizer", "vocab_size=256", "eval_interval=null"),
    *("num_layers=2", "hidden_size=32", "ffn_hidden_size=64", "micro_batch_size=2", "global_batch_size=4"),
    *("train_iters=4", "save_interval=4", "log_interval=1", "lr_warmup_iters=1"),
)


@pytest.fixture(params=[OLD, NEW])
def server(request, tmp_path):
    with serving(SafeServer(request.param, execute=tmp_path / "pods")) as state:
        yield state


@pytest.fixture
def primus(server, tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment |= {"HOME": str(tmp_path), "PRIMUS_SAFE_API_KEY": "ak-right", "USER": "ann"}
        return subprocess.run(
            [sys.executable, "-m", "primus", "k8s", "--url", server.url, *arguments], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def sets(*settings: str) -> list[str]:
    return [part for each in (*SMALL, *settings) for part in ("--set", each)]


@pytest.mark.parametrize("server", [NEW], indirect=True)  # the place of a pod in the other: launch/k8s/test_entry.py
def test_two_pods_train_one_model_from_create_to_succeeded(server, primus, tmp_path):
    made = primus("create", "--exp", str(TINY), "--gpu", "0", "--replica", "2", "-o", "id", *sets())
    assert made.returncode == 0, made.stderr
    id = made.stdout.strip()

    followed = primus("logs", "--workload-id", id, "--follow")
    waited = primus("wait", "--workload-id", id, "--interval", "0.2")
    shown = json.loads(primus("get", "--workload-id", id).stdout)

    assert (followed.returncode, waited.returncode) == (0, 0), followed.stdout[-4000:]
    assert f"[{id}-0] " in followed.stdout
    assert "loss" in followed.stdout
    assert shown["phase"] == "Succeeded"
    assert [pod["phase"] for pod in shown["pods"]] == ["Succeeded", "Succeeded"]
    run_dir = next(tmp_path.glob(f"output/*/*/tiny_llama/runs/{id}"))
    status = json.loads((run_dir / "status.json").read_text())
    assert (status["state"], status["exit_status"]) == ("succeeded", 0)
    losses = [json.loads(line)["loss"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 4


def test_a_training_that_fails_makes_the_workload_fail_with_its_status(server, primus):
    made = primus("create", "--exp", str(TINY), "--gpu", "0", "-o", "id", *sets(), "--", "--resume")
    id = made.stdout.strip()

    waited = primus("wait", "--workload-id", id, "--interval", "0.1")
    logs = primus("logs", "--workload-id", id)

    assert waited.returncode == 4
    assert "has no checkpoint to resume from" in logs.stdout


@pytest.mark.parametrize("server", [OLD], indirect=True)
def test_a_workload_that_is_stopped_has_saved(server, primus, tmp_path):
    made = primus(
        "create", "--exp", str(TINY), "--gpu", "0", "-o", "id", *sets("train_iters=100000", "save_interval=50000")
    )
    id = made.stdout.strip()
    deadline = time.monotonic() + 120
    while not any((tmp_path / "output").rglob("metrics.jsonl")):
        assert time.monotonic() < deadline, "it did not begin to train"
        time.sleep(0.1)

    stopped = primus("stop", "--workload-id", id)
    waited = primus("wait", "--workload-id", id)

    assert (stopped.returncode, waited.returncode) == (0, 143)
    assert list((tmp_path / "output").rglob("checkpoints/*")), primus("logs", "--workload-id", id).stdout

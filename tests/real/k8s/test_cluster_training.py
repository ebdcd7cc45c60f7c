"""Runs on a cluster that really train: pods of the stand-in API server are processes of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kube_server import KubeServer, serving_cluster

pytestmark = pytest.mark.real

TINY = Path(__file__).parents[3] / "configs/experiments/megatron/tiny_llama.yaml"

SMALL = (
    *("mock_data=true", "data_path=null", "tokenizer_type=NullTokenizer", "vocab_size=256", "eval_interval=null"),
    *("num_layers=2", "hidden_size=32", "ffn_hidden_size=64", "micro_batch_size=2", "global_batch_size=4"),
    *("train_iters=4", "save_interval=4", "log_interval=1", "lr_warmup_iters=1"),
)


@pytest.fixture
def cluster(tmp_path):
    with serving_cluster(KubeServer(execute=tmp_path / "pods")) as state:
        yield state


@pytest.fixture
def primus(cluster, tmp_path):
    config = cluster.write_kubeconfig(tmp_path / "config")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        clean |= {"HOME": str(tmp_path), "USER": "ann", **environment}
        return subprocess.run(
            [sys.executable, "-m", "primus", "k8s", "--kubeconfig", str(config), *arguments], cwd=tmp_path, env=clean,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def sets(*settings: str) -> list[str]:
    return [part for each in (*SMALL, *settings) for part in ("--set", each)]


def test_two_pods_train_one_model_from_create_to_succeeded(primus, tmp_path):
    create = ("create", "--exp", str(TINY), "--gpu", "0", "--replica", "2", "-o", "id")
    made = primus(*create, *sets(), HF_TOKEN="hf_secret")
    assert made.returncode == 0, made.stderr
    id = made.stdout.strip()

    followed = primus("logs", "--workload-id", id, "--follow")
    shown = json.loads(primus("get", "--workload-id", id).stdout)

    assert followed.returncode == 0, followed.stdout[-4000:] + followed.stderr
    lines = [line for line in followed.stdout.splitlines() if "loss" in line and line.startswith("[")]
    assert len(lines) >= 4
    assert len(set(lines)) == len(lines)
    assert {pod["status"]["phase"] for pod in shown["pods"]} == {"Succeeded"}
    run_dir = next(tmp_path.glob(f"output/*/*/tiny_llama/runs/{id}"))
    assert json.loads((run_dir / "status.json").read_text())["state"] == "succeeded"


def test_a_training_that_fails_makes_the_run_fail_with_its_status(primus):
    made = primus("create", "--exp", str(TINY), "--gpu", "0", "-o", "id", *sets(), "--", "--resume")
    assert made.returncode == 0, made.stderr

    waited = primus("wait", "--workload-id", made.stdout.strip(), "--interval", "0.1")

    assert waited.returncode == 4

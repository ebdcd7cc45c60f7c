"""All three stages on a cluster: pods of the stand-in API server are processes of this machine, with the fake ROCm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_server import KubeServer, serving_cluster

pytestmark = pytest.mark.real

HOOK = Path(__file__).parents[2] / "tuning" / "standins" / "hook"
SMALL = (
    *("mock_data=true", "data_path=null", "tokenizer_type=NullTokenizer", "vocab_size=256", "eval_interval=null"),
    *("num_layers=1", "hidden_size=32", "ffn_hidden_size=64", "micro_batch_size=2", "global_batch_size=2"),
    *("train_iters=1", "save_interval=1", "log_interval=1", "lr_warmup_iters=0", "lr_decay_iters=1"),
)


class Place:
    """A folder that is here and in the pods, and what stands before `create` to reach them."""

    def __init__(self, folder: Path, rocm: Path, words: list[str], volume: list[str]) -> None:
        self.folder, self._words, self._volume = folder, words, volume
        told = {"ROCM_PATH": rocm, "STANDIN_HOOK": rocm / "lib", "STANDIN_DEVICES": 2, "OMP_NUM_THREADS": 1}
        told["PRIMUS_TUNE_LOCKS"] = rocm
        told |= {"PYTHONPATH": os.pathsep.join(map(str, (HOOK, Path(__file__).parents[3])))}
        self._told = [word for name, value in told.items() for word in ("--env", f"{name}={value}")]

    def tune(self) -> subprocess.CompletedProcess[str]:
        sets = [word for each in SMALL for word in ("--set", each)]
        asked = ["--stage", "all", "--target", "k8s", "--exp", "megatron/tiny_llama", "--train-iters", "1", *sets]
        create = ["create", "--gpu", "0", *self._volume, *self._told]
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "primus", "tune", *asked, "--", *self._words, *create],
            cwd=self.folder,
            env=kept | {"HOME": str(self.folder), "USER": "ann"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def place(tmp_path: Path, rocm: Path) -> Iterator[Place]:
    with serving_cluster(KubeServer(execute=tmp_path / "pods")) as cluster:
        config = cluster.write_kubeconfig(tmp_path / "config")
        yield Place(tmp_path, rocm, ["--kubeconfig", str(config)], ["--volume", f"host:{tmp_path}"])


def test_all_stages_run_as_workloads_one_after_another(place: Place):
    done = place.tune()
    logs = "\n".join(path.read_text() for path in sorted(place.folder.glob("pods/*/*log*")))
    assert done.returncode == 0, done.stderr + logs
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["Stage 1", "Stage 2", "Stage 3"]
    tuned = place.folder / "output" / "tune_hipblaslt" / "tiny_llama"
    assert (tuned / "gemm_shape" / "gemm_shapes.jsonl").exists()
    assert (tuned / "gemm_tune" / "report.json").exists()
    assert list(place.folder.glob("output/*/*/tiny_llama/runs/*/metrics.jsonl")), logs

"""A training on this machine's CPU that calls the fake hipBLASLt: the ground on which the whole chain is tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from primus.tuning.shapes import find_dumps, read_dumps

pytestmark = pytest.mark.real

HOOK = Path(__file__).parents[2] / "tuning" / "standins" / "hook"
STEPS = 3
SETTINGS = {"train_iters": STEPS, "lr_warmup_iters": 1, "log_interval": 1, "micro_batch_size": 2}
SETTINGS |= {"global_batch_size": 4, "mock_data": "true", "data_path": "null"}


def train(workspace: Path, **environ: str) -> list[float]:
    """The losses of a few steps of the tiny Llama on two processes."""
    command = [sys.executable, "-m", "primus", "train", "--exp", "megatron/tiny_llama", "--nproc-per-node", "2"]
    for name, value in {**SETTINGS, "workspace": workspace}.items():
        command += ["--set", f"{name}={value}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environ
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (metrics,) = workspace.rglob("metrics.jsonl")
    return [record["loss"] for record in map(json.loads, metrics.read_text().splitlines()) if "loss" in record]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Losses without the library."""
    return train(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def dumped(rocm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], Path]:
    """Losses with it, and its dumps."""
    dumps = tmp_path_factory.mktemp("dumps")
    return train(tmp_path_factory.mktemp("dumped"), **hooked(rocm, dumps)), dumps


def hooked(rocm: Path, dumps: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(HOOK),
        "STANDIN_HOOK": str(rocm / "lib"),
        "HIPBLASLT_LOG_MASK": "96",
        "HIPBLASLT_LOG_FILE": str(dumps / "gemm_%i.txt"),
    }


def test_the_numbers_of_a_training_stay_the_same(plain: list[float], dumped: tuple[list[float], Path]):
    losses, _ = dumped
    assert len(losses) == STEPS
    assert losses == plain


def test_each_process_has_a_dump_with_the_multiplications_of_its_model(dumped: tuple[list[float], Path]):
    _, dumps = dumped
    assert len(find_dumps(dumps)) == 2
    layouts = {f"{gemm.trans_a}{gemm.trans_b}" for gemm in read_dumps(find_dumps(dumps)).uses}
    assert layouts >= {"TN", "NN", "NT"}, "forward, gradient of the input, gradient of the weights"


def test_an_override_file_is_used_by_the_process_that_trains(rocm: Path, kernels: ModuleType, tmp_path: Path):
    key = {"transA": "T", "transB": "N", "batch_count": 1, "m": 32, "n": 40, "k": 16, "a_type": "f32_r"}
    key |= {"b_type": "f32_r", "c_type": "f32_r", "compute_type": "f32_r"}
    chosen = kernels.ranked({**key, "d_type": "f32_r", "epilogue": 1, "scaleA": 0, "scaleB": 0}, 64 << 20)[-1]
    row = ",".join(str(value) for value in key.values())
    override = tmp_path / "override"
    override.write_text(f"Git Version: fa9cdd18\n{','.join(key)},solution_index\n{row},{chosen}\n")
    (tmp_path / "dumps").mkdir()
    code = "import torch; torch.nn.Linear(16, 32, bias=False)(torch.ones(4, 10, 16)).sum().backward()"
    environ = os.environ | hooked(rocm, tmp_path / "dumps") | {"HIPBLASLT_TUNING_OVERRIDE_FILE": str(override)}

    subprocess.run([sys.executable, "-c", code], env=environ, timeout=120, check=True)

    (dump,) = find_dumps(tmp_path / "dumps")
    forward, _ = [line for line in dump.read_text().splitlines() if line.startswith("hipblaslt-bench")]
    assert "-m 32 -n 40 -k 16 " in forward
    assert f"--solution_index {chosen} " in forward

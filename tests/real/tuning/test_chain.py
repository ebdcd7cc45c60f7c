"""The whole tuning of a training: its GEMMs dumped, tuned over four fake GPUs of which some fail, and used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primus.tuning.results import read_results
from primus.tuning.shapes import find_dumps, read_shapes

pytestmark = pytest.mark.real

HOOK = Path(__file__).parents[2] / "tuning" / "standins" / "hook"
STEPS = 2
VALUES = {"train_iters": STEPS, "lr_warmup_iters": 1, "log_interval": 1, "micro_batch_size": 2}
VALUES |= {"global_batch_size": 4, "mock_data": "true", "data_path": "null"}
FAILURES = {"320x256x128": "none", "128x264x256": "segv"}
"""No solution, and a bench that dies."""


class Chain:
    """`primus` in a workspace, with the fake library in the place of ROCm's."""

    def __init__(self, rocm: Path, workspace: Path) -> None:
        self.workspace, self.folder = workspace, workspace / "tune_hipblaslt" / "tiny"
        failures = ";".join(f"{shape}:{kind}" for shape, kind in FAILURES.items())
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HIPBLASLT_", "PRIMUS_"))}
        self.environ = kept | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(HOOK),
            "STANDIN_HOOK": str(rocm / "lib"),
            "ROCM_PATH": str(rocm),
            "STANDIN_FAILURES": failures,
            "PRIMUS_MODEL": "tiny",
            "PRIMUS_TUNE_LOCKS": str(rocm),
        }

    def primus(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "primus", *arguments, "--exp", "megatron/tiny_llama", "--nproc-per-node", "2"]
        for name, value in {**VALUES, "workspace": self.workspace}.items():
            command += ["--set", f"{name}={value}"]
        environment = self.environ | environ
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    def run_of(self, experiment: str) -> Path:
        (run,) = (self.workspace / "amd" / "tester" / experiment / "runs").iterdir()
        return run


@pytest.fixture(scope="module")
def chain(rocm: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    made = Chain(rocm, tmp_path_factory.mktemp("workspace"))
    made.environ |= {"USER": "tester", "TEAM": "amd"}
    return made


@pytest.fixture(scope="module")
def tuned(chain: Chain) -> subprocess.CompletedProcess[str]:
    """All three stages, where the environment would spoil the dump."""
    return chain.primus(*("tune", "--stage", "all", "--train-iters", "1", "--engine", "bench"), HIPBLASLT_LOG_LEVEL="0")


def test_the_status_tells_that_some_shapes_could_not_be_tuned(tuned: subprocess.CompletedProcess[str]):
    assert tuned.returncode == 6, tuned.stdout + tuned.stderr


def test_what_would_spoil_the_dump_is_left_out_and_told(tuned: subprocess.CompletedProcess[str]):
    assert "HIPBLASLT_LOG_LEVEL=0 is left out" in tuned.stderr


def test_each_process_has_dumped_and_the_dumps_are_merged(tuned: subprocess.CompletedProcess[str], chain: Chain):
    assert len(find_dumps(chain.folder / "gemm_shape" / "node0")) == 2
    shapes = read_shapes(chain.folder / "gemm_shape" / "gemm_shapes.jsonl")
    assert len(shapes.uses) > 10
    assert {use.ranks for use in shapes.uses.values()} == {2}
    assert f"{len(shapes.uses)} shapes" in tuned.stdout


def test_the_short_training_leaves_no_checkpoint(tuned: subprocess.CompletedProcess[str], chain: Chain):
    short = chain.workspace / "amd" / "tester" / "tiny_llama-gemm-shapes"
    assert short.exists()
    assert not list(short.rglob("iter_*"))


def test_what_failed_is_named_and_the_rest_is_tuned(tuned: subprocess.CompletedProcess[str], chain: Chain):
    results = read_results(chain.folder / "gemm_tune" / "tune_hipblas_gemm_results.txt")
    sizes = {f"{row.key.m}x{row.key.n}x{row.key.k}" for row in results.rows}
    assert len(sizes) > 5
    assert not sizes & FAILURES.keys()
    report = json.loads((chain.folder / "gemm_tune" / "report.json").read_text())
    assert json.dumps(report).count('"failed"') >= len(FAILURES)


def test_training_proves_that_it_uses_the_file(tuned: subprocess.CompletedProcess[str], chain: Chain):
    run = chain.run_of("tiny_llama")
    facts = json.loads((run / "tuning.json").read_text())
    assert facts["proof"]["used"] == facts["proof"]["asked"] > 5
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    assert manifest["tuning"] == facts
    assert manifest["environment"]["HIPBLASLT_TUNING_OVERRIDE_FILE"] == facts["file"]
    assert manifest["environment"]["TE_HIPBLASLT_TUNING_RUN_COUNT"] == "0"
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len([each for each in metrics if "loss" in each]) == STEPS


@pytest.mark.usefixtures("tuned")
def test_all_stages_once_more_repeat_no_work(chain: Chain):
    again = chain.primus("tune", "--stage", "all", "--train-iters", "1", "--dry-run")
    assert again.returncode == 0, again.stderr
    assert "Stage 1 is done" in again.stdout
    retuned = chain.primus("tune", "--stage", "2", "--engine", "bench")
    assert retuned.returncode == 6, "some have failed"
    assert "0 of 20 shapes to tune" in retuned.stderr


@pytest.mark.usefixtures("tuned")
def test_a_file_for_another_build_is_refused(chain: Chain):
    refused = chain.primus("train", "--tune-stage", "3", STANDIN_REVISION="0123abcd")
    assert refused.returncode == 4
    assert "build fa9cdd18, installed is 0123abcd" in refused.stderr
    assert "would ignore all" in refused.stderr


@pytest.mark.usefixtures("tuned")
@pytest.mark.parametrize("stage", ["2", "3"])
def test_shapes_of_another_model_are_refused(chain: Chain, stage: str):
    refused = chain.primus("train", "--tune-stage", stage, "--set", "ffn_hidden_size=512")
    assert refused.returncode == 4
    assert "was dumped for another model" in refused.stderr


def test_a_dump_without_a_gemm_is_an_error_with_its_cause(chain: Chain, tmp_path: Path):
    empty = Chain(Path(chain.environ["ROCM_PATH"]), tmp_path)
    empty.environ = {name: value for name, value in chain.environ.items() if name not in ("STANDIN_HOOK", "ROCM_PATH")}
    ended = empty.primus("train", "--tune-stage", "1", "--tune-iters", "1")
    assert ended.returncode == 4, ended.stderr
    assert "No GEMM was dumped" in ended.stderr
    assert "ran on CPUs, and only AMD GPUs have hipBLASLt" in ended.stderr


def test_all_stages_stop_when_asked_and_do_not_go_on(tmp_path: Path, until: Callable[..., None]):
    """SIGTERM reaches the training of stage 1, whose status is that of the command."""
    command = [sys.executable, "-m", "primus", "tune", "--stage", "all", "--exp", "megatron/tiny_llama"]
    values = {"mock_data": "true", "data_path": "null", "micro_batch_size": 2, "global_batch_size": 2}
    sets = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "USER": "me"}
    with subprocess.Popen(
        [*command, *sets, "--train-iters", "100000"], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as tune:
        until(lambda: list(tmp_path.glob("output/*/*/*/runs/*/logs/node0/rank0.log")))
        tune.send_signal(signal.SIGTERM)
        out, _ = tune.communicate(timeout=240)
    assert tune.returncode == 143
    assert "Stage 2" not in out

"""`primus bench` with real trainings: two that are measured, one for which no memory is there, one that is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

PAGE = (Path(__file__).parents[2] / "docs/bench.md").read_text(encoding="utf-8")
TINY = ("bench", "--exp", "megatron/tiny_llama", "--set", "mock_data=true", "--set", "data_path=null", "--set",
        "seq_length=32", "--set", "global_batch_size=8", "--nproc-per-node", "1")  # fmt: skip


def environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1"}


def primus(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "primus", *words]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    grid = ("--vary", "ffn_hidden_size=320,40000000000", "--vary", "micro_batch_size=2,8,3")
    return primus(folder, *TINY, *grid, "--steps", "3", "--warm-up", "2", "--json", "-o", "best.yaml")


def test_every_point_has_its_end(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [each["state"] for each in results] == [
        "measured", "measured", "refused", "out of memory", "out of memory", "refused",
    ]  # fmt: skip
    assert all(each["steps"] == 3 and each["tokens_per_second"] > 0 for each in results[:2])
    assert "does not divide global_batch_size" in results[2]["reason"]


def test_each_is_a_run_of_its_own_without_checkpoints(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    runs = [Path(each["run"]) for each in json.loads(done.stdout) if each["run"]]
    assert len(set(runs)) == 4
    assert {run.parent.parent.name for run in runs} == {"tiny_llama-bench"}
    assert not (runs[0].parent.parent / "checkpoints").exists()
    assert json.loads((runs[0] / "status.json").read_text())["state"] == "succeeded"


def test_the_best_is_written_as_an_experiment_that_is_the_users(
    done: subprocess.CompletedProcess[str], folder: Path
) -> None:
    measured = json.loads(done.stdout)[:2]
    fastest = max(measured, key=lambda each: each["tokens_per_second"])
    shown = json.loads(primus(folder, "config", "show", "best.yaml", "--json").stdout)
    text = (folder / "best.yaml").read_text()
    assert f"micro_batch_size: {fastest['point']['micro_batch_size']}\n" in text
    assert "exp_name: tiny_llama\n" in text
    assert "train_iters: 200\n" in text
    assert shown


def test_a_grid_that_is_refused_as_a_whole_is_a_wrong_experiment(folder: Path) -> None:
    done = primus(folder, *TINY, "--vary", "micro_batch_szie=1,2")
    assert done.returncode == 3
    assert "Did you mean micro_batch_size?" in done.stderr


def test_ctrl_c_ends_the_training_and_the_whole(folder: Path, until) -> None:
    command = [sys.executable, "-m", "primus", *TINY, "--vary", "micro_batch_size=1,2", "--steps", "100000"]
    bench = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    runs = set(folder.glob("output/*/*/tiny_llama-bench/runs/*"))

    def begun() -> list[Path]:
        new = set(folder.glob("output/*/*/tiny_llama-bench/runs/*")) - runs
        return [run for run in new if (run / "metrics.jsonl").exists()]

    try:
        until(begun)
        os.killpg(bench.pid, signal.SIGINT)
        assert bench.wait(60) == 130
    finally:
        if bench.poll() is None:
            os.killpg(bench.pid, signal.SIGKILL)
    (run,) = begun()
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"


def test_the_command_of_the_page_works(tmp_path: Path) -> None:
    (line,) = re.findall(r"^```sh\n(primus .*)\n```", PAGE, re.MULTILINE)
    done = primus(tmp_path, *line.split()[1:])
    assert done.returncode == 0, done.stderr
    assert re.search(r"^micro_batch_size=16 .*█", done.stdout, re.MULTILINE)
    assert (tmp_path / "best.yaml").exists()

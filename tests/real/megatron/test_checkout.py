"""A Megatron-LM checkout as `primus train` runs it. The checkout is a stand-in: Megatron-LM's outside, a model of one
weight, real processes, signals and files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

STAND_IN = Path(__file__).parents[2] / "backends/megatron/stand_in"

EXPERIMENT = """
work_group: group
user_name: user
workspace: {workspace}
modules:
  pre_trainer:
    framework: megatron
    overrides:
      num_layers: 2
      hidden_size: 32
      num_attention_heads: 2
      position_embedding_type: rope
      seq_length: 16
      micro_batch_size: 1
      global_batch_size: 2
      train_iters: 12
      log_interval: 4
      save_interval: 6
      lr: 1.0e-3
      add_bias_linear: false
      attention_backend: exact
      tokenizer_type: ByteTokenizer
      mock_data: true
"""


class Trained:
    """The files of an experiment that `primus train` has run."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "output/group/user/exp"

    @property
    def run(self) -> Path:
        """The last run."""
        return max((self.folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime)

    def log(self) -> str:
        return (self.run / "logs/node0/rank0.log").read_text()

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]

    def json(self, name: str) -> Any:
        return json.loads((self.run / name).read_text())


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    (root / "exp.yaml").write_text(EXPERIMENT.format(workspace=root / "output"))
    environ = {**os.environ, "MEGATRON_PATH": str(STAND_IN), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "primus", "train", "--exp", str(root / "exp.yaml"), *words],
        env=environ,
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def train(root: Path, *words: str) -> tuple[int, str]:
    process = start(root, *words)
    output = process.communicate(timeout=240)[0]
    return process.returncode, output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The whole experiment, in one process."""
    root = tmp_path_factory.mktemp("checkout")
    status, output = train(root)
    assert status == 0, output
    return Trained(root)


def test_the_checkout_s_own_script_trained_with_our_arguments(trained: Trained) -> None:
    log = trained.log()
    assert f"{STAND_IN}/pretrain_gpt.py --disable-bias-linear" in log
    assert "attention_backend is exact" in log
    assert trained.json("manifest.json")["environment"]["MEGATRON_PATH"] == str(STAND_IN)


def test_metrics_have_the_names_and_steps_of_every_backend(trained: Trained) -> None:
    steps = [row for row in trained.metrics() if "loss" in row]
    assert [row["step"] for row in steps] == [4, 8, 12]
    assert steps[0]["loss"] == pytest.approx(0.8**6)  # the weight shrinks by 0.8 each step, the loss is its square
    assert steps[1]["lr"] == 1e-3
    assert steps[0]["grad_norm"] == 2.0
    assert {"step_time", "tokens_per_second", "tflops_per_gpu"} <= steps[0].keys()


def test_the_evaluation_is_recorded(trained: Trained) -> None:
    assert trained.metrics()[-1].keys() == {"step", "test_loss", "time"}


def test_checkpoints_lie_in_the_experiment_s_folder(trained: Trained) -> None:
    names = {path.name for path in (trained.folder / "checkpoints").iterdir()}
    assert names == {"iter_0000006", "iter_0000012", "latest_checkpointed_iteration.txt"}


def test_a_run_goes_on_from_its_checkpoint(trained: Trained) -> None:
    status, output = train(trained.folder.parents[3], "--resume", "--set", "train_iters=16")
    assert status == 0, output
    assert "Resumes from" in trained.log()
    assert [row["step"] for row in trained.metrics() if "loss" in row] == [16]
    assert trained.metrics()[0]["loss"] == pytest.approx(0.8**30)


def test_a_signal_saves_and_ends_the_run_with_its_own_status(tmp_path: Path) -> None:
    process = start(tmp_path, "--set", "train_iters=100000", "--set", "save_interval=50000")
    found = Trained(tmp_path)
    while process.poll() is None and not list(tmp_path.glob("output/*/*/*/runs/*/metrics.jsonl")):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM
    assert found.json("status.json")["state"] == "interrupted"
    assert (found.folder / "checkpoints/latest_checkpointed_iteration.txt").exists()


def test_what_ends_the_script_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "output/group/user/exp/checkpoints/iter_0000006").mkdir(parents=True)
    (tmp_path / "output/group/user/exp/checkpoints/latest_checkpointed_iteration.txt").write_text("6")
    status, output = train(tmp_path)
    assert status == 1
    assert "FileNotFoundError" in output

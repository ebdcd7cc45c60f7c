"""One process and two, from the command line to the last checkpoint, on real text and with evaluation."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import LLAMA, MegatronRun, Start

from primus.run import RunDirectory

pytestmark = pytest.mark.real

TEXT = Path(email.__file__).parent


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the email package as bytes, without .bin and .idx."""
    prefix = tmp_path_factory.mktemp("data") / "corpus"
    options = ["--tokenizer", "byte", "--glob", "*.py", "--output", str(prefix), "--workers", "1"]
    subprocess.run([sys.executable, "-m", "primus", "data", "prepare", str(TEXT), *options], check=True)
    return prefix


def test_losses_fall_and_every_metric_is_there(straight: MegatronRun) -> None:
    loss = straight.metric("loss")
    assert list(loss) == list(range(1, 21))
    assert loss[1] == pytest.approx(5.55, abs=0.1)  # the logarithm of the vocabulary
    assert loss[20] < 4
    for name in ("grad_norm", "step_time", "tokens_per_second"):
        assert all(value > 0 for value in straight.metric(name).values())


def test_learning_rate_is_the_one_that_the_step_used(straight: MegatronRun) -> None:
    rates = straight.metric("lr")
    assert rates[1] == 0.0
    assert rates[2] == pytest.approx(LLAMA["lr"] / 2)
    assert rates[3] == pytest.approx(LLAMA["lr"])
    assert rates[20] > LLAMA["min_lr"]


def test_parameters_are_those_of_the_model(straight: MegatronRun) -> None:
    hidden, ffn, rows = LLAMA["hidden_size"], LLAMA["ffn_hidden_size"], 256
    layer = 2 * hidden * hidden + 2 * hidden * (hidden // 2) + 3 * hidden * ffn + 2 * hidden
    model = json.loads(straight.directory.model.read_text())
    assert model["parameters"] == 4 * layer + 2 * rows * hidden + hidden


@pytest.mark.parametrize("layout", [{"tensor_model_parallel_size": 2}, {"pipeline_model_parallel_size": 2}, {}])
def test_parameters_are_counted_once_whatever_the_layout(
    layout: dict[str, Any], train: Start, straight: MegatronRun
) -> None:
    values = {"train_iters": 1, "lr_warmup_iters": 0, "disable_last_saving": True}
    run = train(f"counted-{len(layout) and next(iter(layout))}", processes=2, **values, **layout)
    assert json.loads(run.directory.model.read_text()) == json.loads(straight.directory.model.read_text())


def test_held_out_loss_is_reported_at_intervals(train: Start, corpus: Path) -> None:
    values = {"eval_interval": 5, "eval_iters": 2, "train_iters": 10, "split": "80,10,10"}
    data = {"mock_data": False, "data_path": str(corpus), "tokenizer_type": "ByteTokenizer", "vocab_size": None}
    run = train("evaluated", **values | data)
    assert list(run.metric("valid_loss")) == [5, 10]
    assert list(run.metric("test_loss")) == [10]
    assert run.metric("valid_loss")[10] < run.metric("valid_loss")[5] < 5.6


def test_evaluation_does_not_change_the_training(train: Start, straight: MegatronRun) -> None:
    run = train("evaluated-between", eval_interval=1, eval_iters=1, train_iters=3, lr_decay_iters=20)
    assert run.metric("loss") == {step: straight.metric("loss")[step] for step in (1, 2, 3)}


def test_two_sources_are_blended(train: Start, corpus: Path) -> None:
    data = {"mock_data": False, "tokenizer_type": "ByteTokenizer", "vocab_size": None, "split": None}
    paths = {"train_data_path": [0.3, str(corpus), 0.7, str(corpus)]}
    run = train("blended", train_iters=2, lr_warmup_iters=0, **data | paths)
    assert list(run.metric("loss")) == [1, 2]


def test_shuffled_passes_resume_where_they_stopped(train: Start, corpus: Path) -> None:
    data = {"mock_data": False, "data_path": str(corpus), "tokenizer_type": "ByteTokenizer", "vocab_size": None}
    values = {"dataloader_type": "cyclic", "split": "100,0,0", "num_workers": 1, "train_iters": 8, **data}
    straight = train("cyclic", **values)
    train("cyclic-resumed", exit_interval=4, **values)
    assert train("cyclic-resumed", **values).metric("loss") == {
        step: loss for step, loss in straight.metric("loss").items() if step > 4
    }


def test_part_without_text_is_named(start: Start, corpus: Path) -> None:
    data = {"mock_data": False, "data_path": str(corpus), "tokenizer_type": "ByteTokenizer", "vocab_size": None}
    run = start("empty-part", eval_interval=1, split="999,1,0", **data)
    assert run.wait() == [3]
    assert f"the valid part of {corpus}" in run.log()
    assert "has no text" in run.log()


def test_missing_data_is_named(start: Start, tmp_path: Path) -> None:
    run = start("no-data", mock_data=False, data_path=str(tmp_path / "none"))
    assert run.wait() == [4]
    assert f"{tmp_path / 'none'}.bin: no such file" in run.log()


def test_primus_train_runs_two_processes_and_resumes(tmp_path: Path) -> None:
    overrides = LLAMA | {"train_iters": 6, "lr_decay_iters": 6, "exit_interval": 3, "tensor_model_parallel_size": 2}
    experiment = tmp_path / "tiny.yaml"
    modules = {"pre_trainer": {"framework": "megatron", "overrides": overrides}}
    experiment.write_text(json.dumps({"workspace": str(tmp_path / "output"), "modules": modules}))
    command = [sys.executable, "-m", "primus", "train", "--exp", str(experiment), "--nproc-per-node", "2"]
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    for first, last in ((1, 3), (4, 6)):
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
        assert done.returncode == 0, done.stderr
        newest = max((tmp_path / "output").glob("*/*/tiny/runs/*"), key=os.path.getmtime)
        lines = [json.loads(line) for line in RunDirectory(newest).metrics.read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(first, last + 1))
        assert f"step {last}/6" in done.stdout

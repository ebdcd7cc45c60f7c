"""The runtime of a training process, started as torchrun would start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WORKERS = Path(__file__).parents[1] / "launch" / "workers"


@pytest.fixture
def start(tmp_path):
    """Starts a toy worker and returns its process."""

    def run(toy="steps", *arguments, **variables):
        environment = os.environ | {"PYTHONPATH": str(WORKERS), "TOY": toy} | variables
        argv = [sys.executable, "-m", "toy", str(tmp_path / "run"), *arguments]
        return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run


def log(tmp_path, node=0, rank=0):
    return (tmp_path / "run" / "logs" / f"node{node}" / f"rank{rank}.log").read_text()


def test_everything_that_is_printed_goes_to_the_log_of_the_rank(start, tmp_path):
    process = start("show_place", RANK="5", GROUP_RANK="2", LOCAL_RANK="1")
    assert process.communicate() == ("", "")
    assert "hello from rank 5" in log(tmp_path, node=2, rank=5)


def test_each_step_is_a_line_of_the_metrics_and_of_the_log(start, tmp_path):
    start("steps", "--total-steps", "3").communicate()
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first.pop("time") > 1.7e9
    assert first == {"step": 1, "loss": 4.0, "lr": 0.001, "tokens_per_second": 12345.6, "step_time": 0.01}
    assert "step 1/3  loss 4.0000  lr 1.000e-03  tokens/s 12,346  step 0.010 s\n" in log(tmp_path)


def test_a_loss_that_is_no_number_is_still_json_and_reads_back(start, tmp_path):
    start("diverge").communicate()

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line, parse_constant=refuse)["loss"] for line in lines]
    assert losses == ["NaN", "Infinity", "-Infinity"]
    assert [str(float(loss)) for loss in losses] == ["nan", "inf", "-inf"]


def test_the_facts_of_the_model_are_written_for_reports(start, tmp_path):
    start("describe").communicate()
    assert json.loads((tmp_path / "run" / "model.json").read_text()) == {"parameters": 123, "layers": 2}


def test_an_exception_is_left_for_the_launcher_and_for_torchrun(start, tmp_path):
    process = start("raise_error", RANK="3", GROUP_RANK="1", TORCHELASTIC_ERROR_FILE=str(tmp_path / "error.json"))
    process.communicate()
    assert process.returncode == 1
    failure = json.loads((tmp_path / "run" / "failures" / "node1-rank3.json").read_text())
    assert failure["message"] == "ValueError: the loss is gone"
    assert failure["exit_status"] == 1
    assert failure["pid"] == process.pid
    assert failure["traceback"].startswith("Traceback")
    reply = json.loads((tmp_path / "error.json").read_text())["message"]
    assert reply["message"] == "ValueError: the loss is gone"
    assert "raise_error" in reply["extraInfo"]["py_callstack"]
    assert int(reply["extraInfo"]["timestamp"]) > 1_700_000_000


def test_torchrun_can_read_the_error_file(start, tmp_path):
    errors = pytest.importorskip("torch.distributed.elastic.multiprocessing.errors")
    start("raise_error", TORCHELASTIC_ERROR_FILE=str(tmp_path / "error.json")).communicate()
    failure = errors.ProcessFailure(local_rank=0, pid=1, exitcode=1, error_file=str(tmp_path / "error.json"))
    assert failure.message["message"] == "ValueError: the loss is gone"
    assert failure.timestamp > 1_700_000_000


def test_an_expected_failure_has_its_own_status_and_no_traceback(start, tmp_path):
    process = start("refuse")
    process.communicate()
    assert process.returncode == 4
    assert "Error: there is no checkpoint to resume" in log(tmp_path)
    assert "Traceback" not in log(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_only_asks_the_training_to_stop(start, tmp_path, number, gone):
    process = start("wait_for_stop")
    while not (tmp_path / "run" / "waiting-0").exists():
        assert process.poll() is None
    process.send_signal(number)
    process.communicate()
    assert process.returncode == 128 + number
    assert f"saved after {number.name}" in log(tmp_path)


def test_a_worker_whose_parent_is_gone_already_does_not_start(start, tmp_path):
    process = start("steps", PRIMUS_PARENT_PID="1")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists()


def test_an_unknown_resume_mode_is_wrong_usage(start):
    process = start("steps", "--resume", "perhaps")
    assert "invalid choice: 'perhaps'" in process.communicate()[1]
    assert process.returncode == 2


def test_the_heavy_packages_are_imported_by_the_training_only(start, tmp_path):
    start("list_modules").communicate()
    loaded = set(log(tmp_path).split())
    assert "primus.backends.worker" in loaded
    assert not loaded & {"torch", "numpy", "megatron", "torchtitan", "typer", "rich"}

"""Running a job of one process: its run directory, its signals, and what its end becomes."""

from __future__ import annotations

import json
import signal
import time

import pytest

from primus.launch.supervise import ECHO


def test_a_run_that_succeeds_leaves_a_complete_run_directory(launch):
    run = launch("steps")
    status, out, err = run.finish()
    assert (status, err) == (0, "")
    assert "step 3/3  loss 1.3333" in out
    assert run.status()["state"] == "succeeded"
    assert run.status()["exit_status"] == 0
    manifest = json.loads((run.run_dir / "manifest.json").read_text())
    assert manifest["worker"][:3] == ["python", "-m", "toy"]
    assert manifest["environment"]["TOY"] == "steps"
    assert (run.run_dir / "experiment.yaml").read_text() == "toy: true\n"
    steps = [json.loads(line)["step"] for line in (run.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    assert not list(run.run_dir.rglob("*.partial"))


def test_the_log_of_the_node_says_what_its_launcher_did(launch):
    run = launch("wait_for_stop")
    run.wait_for("waiting-0")
    run.process.send_signal(signal.SIGTERM)
    run.finish()
    log = (run.run_dir / "logs/node0/agent.log").read_text()
    assert f"process {run.process.pid} on " in log
    assert "toy: toy, 1 process on cpu" in log
    assert "SIGTERM: stopping after this step" in log
    assert log.splitlines()[-1].endswith(f"toy: stopped by SIGTERM. Run directory: {run.run_dir}")


def test_the_worker_runs_in_the_users_folder_but_does_not_import_from_it(launch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = launch("show_place").finish()[1]
    assert f"cwd={tmp_path}" in out
    assert f"path0={tmp_path}" not in out


@pytest.mark.parametrize(
    ("toy", "status", "cause"),
    [
        ("raise_error", 1, "rank 0 on node 0: ValueError: the loss is gone"),
        ("refuse", 4, "rank 0 on node 0: there is no checkpoint to resume"),
        ("leave", 7, "rank 0 on node 0: left with exit status 7"),
        ("die", 137, "rank 0 on node 0: died of SIGKILL"),
        ("crash", 139, "rank 0 on node 0: died of SIGSEGV"),
    ],
)
def test_a_workers_exit_status_comes_back_with_the_cause(launch, toy, status, cause):
    run = launch(toy)
    found, _, err = run.finish()
    assert found == status
    assert run.status()["state"] == "failed"
    assert run.status()["exit_status"] == status
    assert run.status()["cause"].startswith(cause)
    assert "Training failed: rank 0 on node 0" in err
    assert cause.partition(": ")[2] in err
    assert str(run.run_dir / "logs/node0/rank0.log") in err


def test_a_run_directory_that_goes_away_does_not_hide_the_exit_status(launch):
    run = launch("die_with_the_disk")
    status, _, err = run.finish()
    assert status == 137
    assert "Warning: can't write" in err


def test_a_crash_in_native_code_leaves_the_python_stack_in_the_log(launch):
    run = launch("crash")
    run.finish()
    assert "Fatal Python error: Segmentation fault" in run.log()


def test_a_module_that_does_not_exist_is_explained_by_the_ranks_log(launch):
    run = launch("steps", module="no_such_module")
    status, out, err = run.finish()
    assert status == 1
    assert "No module named no_such_module" in out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_worker_save_and_becomes_the_exit_status(launch, number, gone):
    run = launch("wait_for_stop")
    run.wait_for("waiting-0")
    run.process.send_signal(number)
    status, out, _ = run.finish()
    assert status == 128 + number
    assert "saved after SIGTERM" in out
    assert run.status()["state"] == "interrupted"
    assert run.status()["cause"] == f"stopped by {number.name}"
    gone(run.pid(0))


def test_a_second_signal_kills_a_worker_that_does_not_stop(launch, gone):
    run = launch("never_stop")
    run.wait_for("waiting-0")
    run.process.send_signal(signal.SIGINT)
    while "SIGINT: stopping" not in run.process.stdout.readline():
        continue
    time.sleep(ECHO)
    run.process.send_signal(signal.SIGINT)
    assert run.finish()[0] == 130
    assert run.status()["state"] == "interrupted"
    assert run.status()["cause"] == "stopped by SIGINT, killed since a second signal came"
    gone(run.pid(0))


def test_a_signal_that_comes_twice_at_once_is_one_request(launch):
    run = launch("save_slowly", echo=60.0)  # however long the second one takes to come
    run.wait_for("waiting-0")
    run.process.send_signal(signal.SIGTERM)
    time.sleep(0.01)
    run.process.send_signal(signal.SIGTERM)
    status, out, _ = run.finish()
    assert status == 128 + signal.SIGTERM
    assert "saved after SIGTERM" in out
    assert run.status()["cause"] == "stopped by SIGTERM"


def test_sigusr1_reaches_the_worker_which_decides(launch):
    run = launch("wait_for_stop")
    run.wait_for("waiting-0")
    run.process.send_signal(signal.SIGUSR1)
    status, out, _ = run.finish()
    assert status == 128 + signal.SIGUSR1
    assert "saved after SIGUSR1" in out
    assert run.status()["state"] == "interrupted"


def test_the_worker_dies_with_a_launcher_that_is_killed(launch, gone):
    run = launch("never_stop")
    run.wait_for("waiting-0")
    run.process.kill()
    gone(run.pid(0))


def test_nothing_that_a_worker_started_is_left_behind(launch, gone):
    run = launch("leave_a_child")
    assert run.finish()[0] == 7
    gone(run.pid("child"))


def test_a_rank_that_talks_too_much_is_shown_to_the_last_byte(launch):
    run = launch("flood")
    status, out, _ = run.finish()
    lines = out.splitlines()
    assert status == 0
    assert sum(line.startswith("line ") for line in lines) == 300_000
    assert "and no newline at the end" in lines


def test_training_goes_on_when_the_reader_of_the_output_has_gone(launch):
    run = launch("flood")
    run.process.stdout.close()
    assert run.process.wait(60) == 0
    assert run.log().endswith("and no newline at the end")


def test_a_run_directory_that_cannot_be_made_is_an_error_before_any_process(launch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    run = launch("steps", run_dir=tmp_path / "file" / "run")
    status, _, err = run.finish()
    assert status == 1  # submit() raises; cli.py turns it into status 4
    assert "MissingError: can't make the run directory" in err
    assert "a part of this path is a file" in err


def test_a_second_attempt_goes_on_in_the_same_run_directory(launch, tmp_path):
    place = tmp_path / "run"
    launch("resume", {"DONE": "0", "LAST": "5"}, run_dir=place).finish()
    run = launch("resume", {"DONE": "3", "LAST": "6"}, run_dir=place, attempt=2)
    status, out, _ = run.finish()
    assert status == 0
    assert "attempt 2" in out
    assert "step 4/3" in out
    assert "step 1/3" not in out
    assert run.status()["attempt"] == 2
    assert [each["state"] for each in run.status()["attempts"]] == ["succeeded"]
    assert "step 5/3" in (place / "attempt1/logs/node0/rank0.log").read_text()
    assert (place / "attempt1/manifest.json").exists()


def test_a_later_attempt_reports_each_step_once(launch, tmp_path):
    place = tmp_path / "run"
    launch("resume", {"DONE": "0", "LAST": "5"}, run_dir=place).finish()
    launch("resume", {"DONE": "3", "LAST": "6"}, run_dir=place, attempt=2).finish()
    lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line.get("attempt") for line in lines] == [None, None, None, 2, 2, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_is_seen_where_ends_of_children_are_ignored_too(launch, workers):
    """By whoever starts Primus: what it ignores is ignored in its children, until they say otherwise."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        run = launch("leave", resources={"nproc_per_node": workers})
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert run.finish()[0] == 7
    assert run.status()["state"] == "failed"

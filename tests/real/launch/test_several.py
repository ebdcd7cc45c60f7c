"""Several workers of one node: exit statuses, signals, and nothing left behind."""

from __future__ import annotations

import signal
import time

import pytest

from primus.launch.supervise import ECHO

pytestmark = pytest.mark.real

TWO = {"nproc_per_node": 2}


def test_a_run_that_succeeds_has_a_log_for_each_rank_and_no_scraps(launch):
    run = launch("steps", resources=TWO)
    status, out, err = run.finish()
    assert (status, err) == (0, "")
    assert "hello from rank 0" in out
    assert "step 3/3  loss 1.3333" in out
    assert "hello from rank 1" not in out
    assert "hello from rank 1" in run.log(1)
    assert run.status()["state"] == "succeeded"
    assert sorted(path.name for path in run.run_dir.glob("logs/node0/*")) == ["agent.log", "rank0.log", "rank1.log"]


@pytest.mark.parametrize(
    ("toy", "status", "words"),
    [
        ("raise_error:1", 1, "ValueError: the loss is gone"),
        ("die:1", 137, "died of SIGKILL"),
    ],
)
def test_the_failing_ranks_status_comes_back_with_its_own_last_lines(launch, gone, toy, status, words):
    run = launch(toy, resources=TWO)
    found, _, err = run.finish()
    assert found == status
    assert "Training failed: rank 1 on node 0" in err
    assert words in err
    assert "hello from rank 1" in err  # the tail of its log, which the terminal did not show
    assert run.status()["state"] == "failed"
    assert run.status()["exit_status"] == status
    assert run.status()["cause"].startswith(f"rank 1 on node 0: {words}")
    assert [failure["rank"] for failure in run.status()["failures"]] == [1]
    gone(run.pid(0), run.pid(1))


def test_a_worker_that_hangs_after_anothers_failure_is_ended(launch, gone):
    run = launch("raise_error_beside_a_hang", resources=TWO)
    run.wait_for("failures/node0-rank1.json")
    assert run.finish()[0] == 1
    assert run.status()["cause"].startswith("rank 1 on node 0: ValueError")
    gone(run.pid(0), run.pid(1))


def test_the_same_failure_on_every_rank_is_told_once(launch):
    status, _, err = launch("refuse", resources=TWO).finish()
    assert status == 4
    assert "The same on rank " in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_worker(launch, gone, number):
    run = launch("wait_for_stop", resources=TWO)
    run.wait_for("waiting-0", "waiting-1")
    run.process.send_signal(number)
    status, _, _ = run.finish()
    assert status == 128 + number
    assert "saved after SIGTERM" in run.log(0)
    assert "saved after SIGTERM" in run.log(1)
    assert run.status()["state"] == "interrupted"
    gone(run.pid(0), run.pid(1))


def test_sigusr1_reaches_every_worker(launch):
    run = launch("wait_for_stop", resources=TWO)
    run.wait_for("waiting-0", "waiting-1")
    run.process.send_signal(signal.SIGUSR1)
    assert run.finish()[0] == 128 + signal.SIGUSR1
    assert "saved after SIGUSR1" in run.log(0)
    assert "saved after SIGUSR1" in run.log(1)
    assert run.status()["state"] == "interrupted"


def test_a_second_signal_kills_workers_that_do_not_stop(launch, gone):
    run = launch("never_stop", resources=TWO, care={"grace": 3600.0})
    run.wait_for("waiting-0", "waiting-1")
    run.process.send_signal(signal.SIGINT)
    while "SIGINT: stopping" not in run.process.stdout.readline():
        continue
    time.sleep(ECHO)
    run.process.send_signal(signal.SIGINT)
    assert run.finish()[0] == 130
    gone(run.pid(0), run.pid(1))


def test_all_workers_die_with_a_launcher_that_is_killed(launch, gone):
    run = launch("never_stop", resources=TWO)
    run.wait_for("waiting-0", "waiting-1")
    run.process.kill()
    gone(run.pid(0), run.pid(1))


def test_what_a_worker_started_is_not_left_behind(launch, gone):
    run = launch("leave_a_child:0", resources=TWO)
    assert run.finish()[0] == 7
    gone(run.pid("child"), run.pid(1))


def test_a_module_that_does_not_exist_is_explained_by_the_agents_log(launch):
    status, _, err = launch("steps", module="no_such_module", resources=TWO).finish()
    assert status == 1
    assert "No module named no_such_module" in err

"""Which exit status a failed job has, of all those that its nodes and workers left with."""

from __future__ import annotations

import json

import pytest

from primus.launch.slurm.outcome import correct, true_status
from primus.run import RunDirectory, Status


@pytest.fixture
def run_dir(tmp_path):
    run_dir = RunDirectory(tmp_path)
    run_dir.create({})
    (tmp_path / "slurm").mkdir()
    return run_dir


def fail(run_dir, rank, time, status, message="left"):
    path = run_dir.failure_path(rank, rank)
    path.write_text(json.dumps({"rank": rank, "node": rank, "time": time, "exit_status": status, "message": message}))


def test_the_worker_that_failed_first_decides(run_dir):
    fail(run_dir, 0, 20.0, 1)
    fail(run_dir, 1, 10.0, 7)
    assert true_status(run_dir, "12-0", 143) == 7


def test_without_a_worker_the_node_that_failed_first_decides(run_dir):
    (run_dir.path / "slurm/failed-12-0-node0").write_text("10.5 143\n")
    (run_dir.path / "slurm/failed-12-0-node1").write_text("11.5 4\n")
    (run_dir.path / "slurm/failed-11-0-node1").write_text("1.5 9\n")
    assert true_status(run_dir, "12-0", 143) == 4


def test_without_either_it_is_that_of_srun(run_dir):
    assert true_status(run_dir, "12-0", 9) == 9


def test_a_node_that_was_stopped_for_anothers_sake_is_told_as_failed(run_dir):
    fail(run_dir, 1, 10.0, 7, "left with exit status 7")
    run_dir.write_status(Status(state="interrupted", exit_status=143, cause="stopped by SIGTERM"))
    correct(run_dir, 7)
    status = run_dir.read_status()
    assert (status.state, status.exit_status) == ("failed", 7)
    assert status.cause == "rank 1 on node 1: left with exit status 7"


def test_a_job_that_was_asked_to_stop_stays_interrupted(run_dir):
    run_dir.write_status(Status(state="interrupted", exit_status=143, cause="stopped by SIGTERM"))
    correct(run_dir, 137)
    assert run_dir.read_status().state == "interrupted"


def test_what_is_right_stays(run_dir):
    run_dir.write_status(Status(state="failed", exit_status=7, cause="mine"))
    correct(run_dir, 7)
    assert run_dir.read_status().cause == "mine"


@pytest.mark.parametrize(("status", "state"), [(4, "failed"), (143, None)])
def test_a_launch_that_never_began_has_the_last_error_that_a_node_has_said(run_dir, status, state):
    logs = run_dir.path / "slurm/logs"
    logs.mkdir()
    (logs / "node0.log").write_text("Warning: odd\n")
    (logs / "node1.log").write_text("Error: of an attempt before\nError: --image x: not on this machine\nmore\n")
    correct(run_dir, status)
    written = run_dir.read_status()
    assert (written and (written.state, written.exit_status, written.cause)) == (
        state and (state, 4, "--image x: not on this machine")
    )

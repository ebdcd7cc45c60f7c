"""Which failure came first, and how it is told."""

from __future__ import annotations

import signal

import pytest

from primus.launch.failure import Ended, describe_status, first_failure, record_exit, report, tail_of
from primus.run import RunDirectory


@pytest.fixture
def run_dir(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.create({})
    return run


def failure(rank, time, *, status=1, message="ValueError: x"):
    return {"rank": rank, "node": 0, "host": "h", "time": time, "exit_status": status, "message": message}


def test_the_earliest_failure_is_the_cause():
    assert first_failure([failure(0, 5.0), failure(1, 4.0)])["rank"] == 1


def test_a_killed_worker_explains_the_broken_connections_of_the_others():
    others_noticed = failure(0, 10.0, message="RuntimeError: Connection closed by peer")
    assert first_failure([others_noticed, failure(1, 10.2, status=137)])["rank"] == 1


def test_a_worker_that_is_killed_much_later_does_not():
    assert first_failure([failure(0, 10.0), failure(1, 13.0, status=137)])["rank"] == 0


def test_without_failures_there_is_no_first():
    assert first_failure([]) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (7, "left with exit status 7"),
        (128 + signal.SIGKILL, "died of SIGKILL (killed from outside, often by the kernel when memory runs out"),
        (128 + signal.SIGFPE, "died of SIGFPE"),
        (255, "left with exit status 255"),
    ],
)
def test_an_exit_status_in_words(status, words):
    assert describe_status(status).startswith(words)


def test_an_exit_is_recorded_unless_the_worker_did_so_itself(run_dir):
    ended = Ended(rank=1, local_rank=1, pid=7, status=137)
    record_exit(run_dir, node=0, ended=ended)
    record_exit(run_dir, node=0, ended=Ended(rank=1, local_rank=1, pid=7, status=1))
    [recorded] = run_dir.read_failures()
    assert (recorded["rank"], recorded["pid"], recorded["exit_status"]) == (1, 7, 137)


def test_the_report_names_rank_node_host_status_and_the_last_lines(run_dir):
    run_dir.log_path(0, 1).write_text("".join(f"line {number}\n" for number in range(100)))
    text = report(run_dir, [failure(1, 1.0)], shown=(0,))
    assert text.splitlines()[:2] == ["Training failed: rank 1 on node 0 (h), exit status 1", "  ValueError: x"]
    assert text.count("line ") == 20
    assert text.endswith("line 99")
    assert str(run_dir.log_path(0, 1)) in text


def test_a_log_that_is_on_the_terminal_already_is_only_named(run_dir):
    run_dir.log_path(0, 0).write_text("seen\n")
    text = report(run_dir, [failure(0, 1.0)], shown=(0,))
    assert "seen" not in text
    assert f"Its log: {run_dir.log_path(0, 0)}" in text


def test_a_worker_that_never_opened_its_log_is_explained_by_torchruns(run_dir):
    run_dir.agent_log(0).write_text("No module named x\n")
    assert "No module named x" in report(run_dir, [failure(1, 1.0)], shown=())


def test_the_same_failure_of_many_ranks_is_told_once(run_dir):
    text = report(run_dir, [failure(rank, float(rank)) for rank in range(4)], shown=(0,))
    assert text.count("ValueError: x") == 1
    assert "The same on 3 other workers." in text


def test_failures_that_followed_are_counted(run_dir):
    followers = [failure(rank, 2.0, message="RuntimeError: Connection closed") for rank in (0, 2)]
    assert "2 other workers failed after it." in report(run_dir, [failure(1, 1.0), *followers], shown=())


def test_a_secret_in_a_failure_is_not_shown(run_dir):
    secret = "hf_" + "aB3" * 10
    run_dir.log_path(0, 1).write_text(f"login with {secret}\n")
    text = report(run_dir, [failure(1, 1.0, message=f"HTTPError: bad token {secret}")], shown=())
    assert secret not in text


def test_the_tail_of_a_large_log_is_its_end(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1_000_000 + b"\nthe \xff end\n")
    assert tail_of(log, 1) == ["the � end"]

"""The notes of failed workers, and which of them came first."""

from __future__ import annotations

import signal

import pytest

from primus.launch.failure import Ended, describe_status, first_failure, note_of, record_exit, tail_of
from primus.run import RunDirectory


@pytest.fixture
def run_dir(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.create({})
    return run


def failure(rank, time, *, status=1, message="ValueError: x"):
    return {"rank": rank, "time": time, "exit_status": status, "message": message}


def test_the_earliest_failure_is_the_cause():
    assert first_failure([failure(0, 5.0), failure(1, 4.0)])["rank"] == 1


def test_a_killed_worker_explains_the_broken_connections_of_the_others():
    others_noticed = failure(0, 10.0, message="RuntimeError: Connection closed by peer")
    assert first_failure([others_noticed, failure(1, 10.2, status=137)])["rank"] == 1


def test_a_worker_that_is_killed_much_later_does_not():
    assert first_failure([failure(0, 10.0), failure(1, 13.0, status=137)])["rank"] == 0


def test_a_message_that_another_worker_went_away_is_not_the_first_failure_even_when_it_came_first():
    gloo = "RuntimeError: [/gloo/transport/tcp/pair.cc:598] Connection closed by peer [18.25.6.30]:28048"
    assert first_failure([failure(0, 10.0, message=gloo), failure(1, 10.4)])["rank"] == 1


def test_a_failure_long_after_it_is_none_that_it_followed_from():
    gloo = "RuntimeError: [/gloo/transport/tcp/pair.cc:598] Connection closed by peer [18.25.6.30]:28048"
    assert first_failure([failure(0, 10.0, message=gloo), failure(1, 60.0)])["rank"] == 0


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
    killed = Ended(rank=1, local_rank=1, pid=7, status=137)
    record_exit(run_dir, note_of(killed, node=0, attempt=2, kernel=["oom_kill rose from 0 to 1"]))
    record_exit(run_dir, note_of(Ended(rank=1, local_rank=1, pid=7, status=1), node=0))
    [recorded] = run_dir.read_failures()
    assert (recorded["rank"], recorded["pid"], recorded["exit_status"], recorded["attempt"]) == (1, 7, 137, 2)
    assert recorded["kernel"] == ["oom_kill rose from 0 to 1"]


def test_a_note_that_can_not_be_written_is_a_warning(tmp_path, capsys):
    record_exit(RunDirectory(tmp_path / "gone"), note_of(Ended(rank=0, local_rank=0, pid=1, status=1), node=0))
    assert "Warning: can't write" in capsys.readouterr().err


def test_the_tail_of_a_log_that_was_just_rotated_begins_in_its_predecessor(tmp_path):
    (tmp_path / "rank0.log.1").write_text("one\ntwo\n")
    (tmp_path / "rank0.log").write_text("three\n")
    assert tail_of(tmp_path / "rank0.log", 2) == ["two", "three"]


def test_a_private_key_in_the_tail_is_hidden_as_a_whole(tmp_path):
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
    (tmp_path / "log").write_text(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\nend\n")
    assert tail_of(tmp_path / "log", 3) == ["[redacted]", "end"]


def test_the_tail_of_a_large_log_is_its_end(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1_000_000 + b"\nthe \xff end\n")
    assert tail_of(log, 1) == ["the � end"]


def test_a_log_that_is_not_there_has_no_end(tmp_path):
    assert tail_of(tmp_path / "log", 5) == []

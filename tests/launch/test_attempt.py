"""Several launches in one run directory."""

from __future__ import annotations

import json

import pytest

from primus.errors import MissingError, UsageError
from primus.launch.attempt import choose_run_id, earlier_attempts, has_begun, next_attempt, set_aside
from primus.run import RunDirectory, Status


@pytest.fixture
def run_dir(tmp_path):
    run_dir = RunDirectory(tmp_path / "run")
    run_dir.create({"experiment.yaml": "a: 1\n"})
    return run_dir


def test_the_environment_names_the_run():
    assert choose_run_id({"PRIMUS_RUN_ID": "slurm-4711_3.a"}) == "slurm-4711_3.a"


@pytest.mark.parametrize("environ", [{}, {"PRIMUS_RUN_ID": ""}])
def test_without_a_name_every_launch_is_a_run_of_its_own(environ):
    assert choose_run_id(environ) != choose_run_id(environ)


@pytest.mark.parametrize("name", ["../other", "a/b", ".hidden", "-x", "two words", "x" * 129, "ü", "a\n"])
def test_a_name_that_is_no_plain_file_name_is_refused(name):
    with pytest.raises(UsageError, match="PRIMUS_RUN_ID="):
        choose_run_id({"PRIMUS_RUN_ID": name})


def test_the_first_launch_is_the_first_attempt(tmp_path):
    assert next_attempt(RunDirectory(tmp_path / "new")) == 1
    assert earlier_attempts(RunDirectory(tmp_path / "new")) == ()


def test_the_history_says_what_became_of_every_attempt(run_dir):
    first = Status(state="failed", exit_status=137, cause="killed", started="a", updated="b", ended="b")
    run_dir.write_status(first)
    assert next_attempt(run_dir) == 2
    history = earlier_attempts(run_dir)
    assert history == (
        {"attempt": 1, "state": "failed", "exit_status": 137, "cause": "killed", "started": "a", "ended": "b"},
    )
    run_dir.write_status(Status(state="succeeded", exit_status=0, attempt=2, attempts=history))
    assert next_attempt(run_dir) == 3
    assert [each["attempt"] for each in earlier_attempts(run_dir)] == [1, 2]


def test_a_launcher_that_went_away_without_a_word_is_a_failure(run_dir):
    run_dir.write_status(Status(state="running", host="node-a", started="a", updated="b"))
    (attempt,) = earlier_attempts(run_dir)
    assert attempt["state"] == "failed"
    assert attempt["cause"] == "the launcher on node-a went away"
    assert attempt["ended"] == "b"


def test_a_status_of_a_version_without_attempts_can_be_continued(run_dir):
    run_dir.write_status(Status(state="failed"))
    facts = json.loads(run_dir.status.read_text())
    del facts["attempts"]
    run_dir.write_json(run_dir.status, facts)
    assert next_attempt(run_dir) == 2


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"failures": [], "nonsense": 1}'])
def test_a_status_that_cannot_be_read_is_said(run_dir, text):
    run_dir.status.write_text(text)
    with pytest.raises(MissingError, match=r"status\.json can't be read"):
        next_attempt(run_dir)


def test_what_the_last_attempt_left_is_moved_and_what_goes_on_stays(run_dir):
    run_dir.log_path(0, 0).write_text("old\n")
    run_dir.failure_path(0, 0).write_text("{}")
    run_dir.heartbeat_path(0, 0).write_text("{}")
    run_dir.manifest.write_text("{}")
    run_dir.metrics.write_text('{"step": 1}\n')
    set_aside(run_dir, 2)
    old = RunDirectory(run_dir.earlier(1))
    assert old.log_path(0, 0).read_text() == "old\n"
    assert old.failure_path(0, 0).exists()
    assert old.heartbeat_path(0, 0).exists()
    assert old.manifest.exists()
    assert old.experiment.read_text() == "a: 1\n"
    assert run_dir.metrics.exists()
    assert not run_dir.logs.exists()


def test_it_is_moved_once_however_many_nodes_ask(run_dir):
    set_aside(run_dir, 2)
    run_dir.create({}, node=1)
    run_dir.log_path(1, 1).write_text("new\n")
    set_aside(run_dir, 2)
    assert run_dir.log_path(1, 1).read_text() == "new\n"


def test_a_first_attempt_has_nothing_to_move(run_dir):
    run_dir.log_path(0, 0).write_text("mine\n")
    set_aside(run_dir, 1)
    assert run_dir.log_path(0, 0).read_text() == "mine\n"


def test_an_attempt_that_reported_a_step_has_begun(run_dir):
    assert not has_begun(run_dir)
    run_dir.metrics.write_text('{"step": 1}\n')
    assert has_begun(run_dir)

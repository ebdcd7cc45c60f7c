import os

import pytest

from primus.errors import UsageError
from primus.runs.clean import Rule, choose, parse_age, remove, size_of
from primus.runs.summary import summarize


def chosen(workspace, rule, *runs):
    return [run.id for run in choose([summarize(run) for run in runs], rule)]


def test_the_newest_of_each_experiment_stay(workspace):
    runs = [workspace.run(f"r{number}", experiment=name) for name in ("a", "b") for number in (1, 2, 3)]

    assert chosen(workspace, Rule(keep=2), *runs) == ["r1", "r1"]


def test_a_run_that_may_still_go_on_is_never_chosen(workspace):
    running = workspace.run("r1", state="running", host="elsewhere", pid=1)
    damaged = workspace.run("r2")
    (damaged / "status.json").write_text("{")

    assert chosen(workspace, Rule(keep=0), running, damaged) == []


def test_age_and_state_must_both_fit(workspace):
    old = workspace.run("r1", state="failed")
    young = workspace.run("r2", state="failed")
    fine = workspace.run("r3")
    for run in (old, fine):
        for path in (run, run / "status.json"):
            os.utime(path, (0, 0))

    assert chosen(workspace, Rule(older_than=parse_age("30d"), state="failed"), old, young, fine) == ["r1"]


def test_removing_a_run_leaves_checkpoints_alone(workspace):
    run = workspace.run("r1", losses=[1.0])
    checkpoint = run.parent.parent / "checkpoints" / "step-1"
    checkpoint.mkdir(parents=True)

    assert size_of(run) > 0
    remove(run)

    assert not run.exists()
    assert checkpoint.exists()


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43200), ("30d", 2592000), ("1w", 604800)])
def test_ages_are_read(text, seconds):
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "1.5d", "30 days", "-1d"])
def test_other_ages_are_refused(text):
    with pytest.raises(UsageError, match="such as 30d"):
        parse_age(text)

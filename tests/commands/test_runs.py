"""`primus runs` on run directories of every kind."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from primus.commands.runs import app
from primus.errors import UsageError
from primus.run import RunDirectory, Status


@pytest.fixture
def output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, state in enumerate(("succeeded", "failed"), 1):
        run_dir = RunDirectory.named(Path("output/amd/root/tiny"), f"run{number}")
        run_dir.create({"experiment.yaml": f"lr: {number}", "manifest.json": '{"backend": "megatron"}'})
        cause = "rank 3 on node 0: boom" if state == "failed" else None
        run_dir.write_status(Status(state=state, exit_status=number - 1, cause=cause, started="2026-01-01T00:00:00Z"))
        run_dir.metrics.write_text(json.dumps({"step": 5, "loss": 2.0 / number}) + "\n")
    return tmp_path / "output"


def run(*arguments):
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_shows_each_run_with_its_cause(output):
    first, second = run("list").splitlines()[1:]

    assert first.split()[:5] == ["run1", "tiny", "succeeded", "5", "2.0000"]
    assert second.endswith("rank 3 on node 0: boom")


def test_list_takes_a_state_and_a_count(output):
    assert [each["id"] for each in json.loads(run("list", "--json", "--state", "failed"))] == ["run2"]
    assert [each["id"] for each in json.loads(run("list", "--json", "--last", "1"))] == ["run2"]


def test_show_finds_a_run_by_its_id(output):
    text = run("show", "run2")

    assert "exit status 1" in " ".join(text.split())
    assert "rank 3 on node 0: boom" in text


def test_compare_shows_what_differs(output):
    found = {
        each["name"]: each["values"] for each in json.loads(run("compare", "run1", "run2", "--json"))["differences"]
    }

    assert found["lr"] == ["1", "2"]
    assert found["loss at step 5"] == ["2", "1"]
    assert "backend" not in found


def test_compare_of_one_run_is_an_error(output):
    with pytest.raises(UsageError, match="two runs"):
        run("compare", "run1")


def test_clean_deletes_nothing_before_it_is_told_to(output):
    assert "Would delete 1 run" in run("clean", "--state", "failed")
    assert len(list(output.glob("*/*/*/runs/*"))) == 2

    assert "Deleted 1 run" in run("clean", "--state", "failed", "--yes")
    assert [path.name for path in output.glob("*/*/*/runs/*")] == ["run1"]


def test_clean_without_a_rule_is_an_error(output):
    with pytest.raises(UsageError, match="--keep N"):
        run("clean", "--yes")


def test_files_of_another_version_are_told_and_the_rest_is_shown(output):
    run = RunDirectory.named(output / "amd/root/tiny", "r1")
    run.create(
        {"experiment.yaml": "{}", "manifest.json": '{"format": 99, "primus": "9.0", "command": 7, "resources": 1}'}
    )
    run.status.write_text('{"state": "resting", "attempt": "third", "diagnosis": [1]}')

    shown = CliRunner().invoke(app, ["show", "r1"])

    assert shown.exit_code == 0
    assert "status.json is damaged, or of another version of Primus" in shown.stderr
    assert "manifest.json is of format 99, written by Primus 9.0" in shown.stderr
    assert "state       unreadable" in shown.stdout


def test_a_folder_that_may_not_be_read_is_told_and_the_rest_is_listed(output, monkeypatch):
    closed, scandir = output / "amd" / "someone", os.scandir
    closed.mkdir()

    def guarded(path):  # root may read anything
        if Path(path).name == closed.name:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    result = CliRunner().invoke(app, ["list"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "run2" in result.stdout
    assert result.stderr == "Warning: output/amd/someone: can't look into this folder: Permission denied\n"

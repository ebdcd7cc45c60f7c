"""`primus slurm status`, list, logs and cancel, from the queue to long after SLURM has forgotten the job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Desk, read, sets

pytestmark = pytest.mark.real


def look(desk: Desk, *arguments: str) -> Any:
    done = desk.primus("slurm", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_job_is_told_of_from_the_queue_until_slurm_has_forgotten_it(desk: Desk) -> None:
    job = desk.submit("--parsable", "--sbatch-arg=--hold", *sets(steps=30, step_seconds=0.1)).stdout.strip()
    (pending,) = look(desk, "status", job)
    assert (pending["state"], pending["slurm_state"], pending["never"]) == ("pending", "PENDING", True)
    assert pending["words"] == "waits: it is held: `scontrol release` lets it go"
    assert "has printed nothing yet" in desk.primus("slurm", "logs", job).stderr
    desk.cluster.run("scontrol", "release", job)
    run = desk.run()
    desk.cluster.wait_for((run / "seen-rank0.json").exists, "the training")
    (running,) = look(desk, "status", run.name[:20])
    assert (running["state"], running["source"], running["nodes"]) == ("running", "squeue", "n1")
    followed = desk.primus("slurm", "logs", str(run), "--follow")
    assert followed.returncode == 0, followed.stderr
    assert followed.stdout.count("step 30/30") == 1
    assert "step 30/30" in desk.primus("slurm", "logs", "--rank", "0").stdout
    (done,) = look(desk, "status")
    assert (done["state"], done["exit_status"], done["step"]) == ("succeeded", 0, 30)
    (listed,) = [each for each in look(desk, "list") if each["run"] == str(run)]
    assert listed == done
    record = read(run / "slurm.json")
    (run / "slurm.json").write_text(json.dumps({**record, "job": "99999"}))  # as when SLURM has forgotten it
    (later,) = look(desk, "status", "99999")
    assert (later["run"], later["state"], later["source"]) == (str(run), "succeeded", "run")


def test_a_job_in_a_closed_partition_never_starts(desk: Desk) -> None:
    script = desk.folder / "other.sh"
    script.write_text("#!/bin/sh\nsleep 60\n")
    job = desk.cluster.run("sbatch", "--parsable", "-p", "closed", str(script)).stdout.strip()
    (found,) = look(desk, "status", job)
    assert found["words"] == "waits: partition closed is down: it will never start"
    assert found["run"] is None


def test_an_unknown_job_can_not_be_cancelled(desk: Desk) -> None:
    done = desk.primus("slurm", "cancel", "4711")
    assert done.returncode == 4
    assert "SLURM knows no job 4711" in done.stderr


def test_the_tasks_of_an_array_are_told_of_one_by_one_and_cancelled_together(desk: Desk) -> None:
    done = desk.submit("--array", "note=a,b", "--parsable", *sets(steps=1000, step_seconds=0.1))
    job = done.stdout.strip()
    runs = [desk.run(f"toy-note-{name}") for name in "ab"]
    desk.cluster.wait_for(lambda: all((run / "seen-rank0.json").exists() for run in runs), "both tasks")
    desk.cluster.wait_for(lambda: all((run / "metrics.jsonl").exists() for run in runs), "both tasks")
    found = look(desk, "status", job)
    assert [(each["job"], each["state"]) for each in found] == [(f"{job}_0", "running"), (f"{job}_1", "running")]
    assert [Path(each["run"]) for each in found] == runs
    cancelled = look(desk, "cancel", job)
    assert {each["words"] for each in cancelled} == {"stopped by itself when asked to"}
    assert all(each["checkpoint"] for each in cancelled)
    listed = [each for each in look(desk, "list") if each["job"].startswith(f"{job}_")]
    assert [each["state"] for each in listed] == ["interrupted", "interrupted"]
    again = desk.primus("slurm", "cancel", f"{job}_1")
    assert again.returncode == 0
    assert "had ended already" in again.stdout


def test_where_slurm_can_not_be_asked_the_files_tell(desk: Desk) -> None:
    assert desk.submit("--wait").returncode == 0
    done = desk.primus("slurm", "status", "--json", env={"PATH": "/nonexistent"})
    (found,) = json.loads(done.stdout)
    assert (found["state"], found["source"]) == ("succeeded", "run")

"""What a job survives on a real cluster: lost nodes and daemons, other jobs' sake, the end of its time."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Desk, read, sets

pytestmark = pytest.mark.real

LONG = sets(steps=40, step_seconds=0.15)
"""A toy training of six seconds."""


def start(desk: Desk, *arguments: str) -> Path:
    """Submit a toy training and wait until it has made some steps; its run directory."""
    done = desk.submit("--parsable", "--nproc-per-node", "1", *arguments)
    assert done.returncode == 0, done.stderr
    run = desk.run()
    desk.cluster.wait_for(lambda: last_step(run) >= 3, "the first steps")
    return run


def test_a_job_that_loses_a_node_goes_on_without_it(desk: Desk) -> None:
    run = start(desk, "--nnodes", "2", "--exclude-failed-nodes", *LONG)
    desk.cluster.wait_for((run / "seen-rank1.json").exists, "the second node")
    node = read(run / "seen-rank1.json")["host"]
    desk.cluster.crash(node, noticed=True)
    ended(desk, run)
    status = read(run / "status.json")
    assert (status["state"], status["attempt"], len(status["attempts"])) == ("succeeded", 2, 1)
    assert steps(run) == list(range(1, 41))
    assert read(run / "attempt1/manifest.json")
    assert node not in {read(run / f"seen-rank{rank}.json")["host"] for rank in (0, 1)}
    failed = [line for line in attempts(run) if line["state"] == "node failed"]
    assert [line["failed"] for line in failed] == [[node]]


def steps(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def last_step(run: Path) -> int:
    return steps(run)[-1] if (run / "metrics.jsonl").exists() else 0


def attempts(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "slurm/attempts.jsonl").read_text().splitlines()]


def ended(desk: Desk, run: Path) -> None:
    """Wait until SLURM has no more to do for the job."""
    job = read(run / "slurm.json")["job"]
    desk.cluster.wait_for(lambda: desk.cluster.job_state(job) in ("COMPLETED", "FAILED"), "the job's end", 60)

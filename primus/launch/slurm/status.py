"""How a job stands: what SLURM says, and what the job has written itself where SLURM knows nothing or is late. Pure,
but for the files that it reads; `primus slurm status`, list and cancel show it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from primus.launch.slurm.find import Found
from primus.launch.slurm.queue import Row
from primus.launch.slurm.reasons import read_reason
from primus.launch.slurm.record import JobFiles
from primus.launch.slurm.states import STOPPED, Name, read_state
from primus.launch.slurm.verdict import verdict
from primus.run import RunDirectory, Status
from primus.runs.summary import last_report, number

Source = Literal["squeue", "sacct", "run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """One job, for people and for programs."""

    job: str
    state: Name
    words: str
    """What goes on, or how it ended, with the reason."""

    source: Source
    """Who says so."""

    slurm_state: str | None = None
    run: Path | None = None
    experiment: str = ""
    nnodes: int = 1
    nodes: str = ""
    partition: str = ""
    never: bool = False
    """It waits for something that time alone does not mend."""

    expected_start: str | None = None
    """As SLURM estimates it, local time."""

    started: str | None = None
    used: str = ""
    limit: str = ""
    exit_status: int | None = None
    cause: str | None = None
    step: int | None = None
    loss: float | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()
    """Each beginning of the run, with the job, its nodes and how it ended."""

    failed_nodes: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    """All jobs of the run, when one has followed another."""


def status_of(found: Found) -> JobStatus:
    """How a job stands."""
    begun = found.run is not None and os.path.exists(f"{found.run}/slurm/attempts.jsonl")  # one look, with 10,000 jobs
    run = found.run if begun else None
    lines = [] if run is None else JobFiles(run).read_attempts()
    written = None if run is None else _read_status(run)
    state, words, source, exit_status = judge(found, lines, written)
    row, record = found.row, found.record
    reason = read_reason(row.reason, row.partition) if row is not None and state == "pending" else None
    report = {} if run is None else last_report(run / "metrics.jsonl")
    ended = state in ("failed", "interrupted", "succeeded")
    found_out = None if run is None else verdict(run, exit_status)
    return JobStatus(
        job=found.job,
        state=state,
        words=found_out or (words if reason is None else f"{words}: {reason}"),
        source=source,
        slurm_state=None if row is None else row.word,
        run=found.run,
        experiment="" if found.run is None else str(found.run).split("/")[-3],
        nnodes=row.count if row is not None else record.nnodes if record is not None else 1,
        nodes=row.nodes if row is not None else str(lines[-1].get("nodes", "")) if lines else "",
        partition="" if row is None else row.partition,
        never=reason is not None and reason.never,
        expected_start=(row.start or None) if row is not None and state == "pending" else None,
        started=(row.start or None) if row is not None and state != "pending" else None,
        used="" if row is None else row.used,
        limit="" if row is None else row.limit,
        exit_status=exit_status,
        cause=written.cause if written is not None and ended and state != "succeeded" and not found_out else None,
        step=report.get("step"),
        loss=number(report, "loss"),
        attempts=tuple(attempts_of(lines)),
        failed_nodes=tuple(
            dict.fromkeys(node for line in lines if line["state"] == "node failed" for node in line["failed"])
        ),
        chain=() if record is None or len(record.jobs) == 1 else record.jobs,
    )


def judge(
    found: Found, lines: Sequence[Mapping[str, Any]], written: Status | None
) -> tuple[Name, str, Source, int | None]:
    """State, words, who says so, exit status. SLURM counts before the job's own files, but for accounts that say that a
    job goes on which the queue does not know: they lag."""
    noted = _noted_end(lines)
    row = found.row
    if row is not None:
        state = read_state(row.word)
        if state.phase == "ended":
            return _ended(row, noted, written)
        if row.source == "squeue":
            if noted is not None and state.phase == "running" and row.word == "RUNNING":
                return "running", "its script has ended, and SLURM has not noticed yet", "squeue", noted
            return state.name, state.words, "squeue", None
    if noted is not None:
        name: Name = "succeeded" if noted == 0 else "interrupted" if noted in STOPPED else "failed"
        words = "is done" if noted == 0 else "was asked to stop" if noted in STOPPED else f"failed with status {noted}"
        return name, words, "run", noted
    if found.silence:
        known: Name = "running" if lines else "pending"
        return known, f"was {known} when it was last heard of; SLURM was not asked: {found.silence}", "run", None
    return "lost", "SLURM does not know it any more, and its script has noted no end", "run", None


def attempts_of(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The attempts that the lines of attempts.jsonl tell of."""
    found: list[dict[str, Any]] = []
    for line in lines:
        if line["state"] == "running":
            keys = ("job", "restart", "nodes")
            found.append(
                {key: line[key] for key in keys} | {"started": line["time"], "ended": None, "failed_nodes": []}
            )
        elif found and line["state"] == "ended":
            found[-1] |= {"ended": line["time"], "exit_status": line["exit_status"]}
        elif "why" in line:
            whose = [each for each in found if (each["job"], each["restart"]) == (line["job"], line.get("restart", 0))]
            for each in whose:
                each["failed_nodes"] += line.get("failed", [])
                each["why"] = line["why"]
    return found


def _read_status(run: Path) -> Status | None:
    """status.json, which a full disk may have damaged: what SLURM says counts for more."""
    try:
        return RunDirectory(run).read_status()
    except (ValueError, KeyError, TypeError):
        return None


def _noted_end(lines: Sequence[Mapping[str, Any]]) -> int | None:
    return int(lines[-1]["exit_status"]) if lines and lines[-1]["state"] == "ended" else None


def _ended(row: Row, noted: int | None, written: Status | None) -> tuple[Name, str, Source, int | None]:
    state = read_state(row.word)
    status = noted if noted is not None else row.exit_code or state.exit_status  # sacct says 0:0 of what SLURM ended
    if state.name == "failed" and status in STOPPED:
        return "interrupted", "was asked to stop", row.source, status
    if row.word == "FAILED" and noted is not None:
        return "failed", f"failed with status {noted}", row.source, status
    return state.name, state.words, row.source, status

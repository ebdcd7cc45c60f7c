"""Several launches in one run directory: which attempt this is, what the earlier ones came to, where their files go.
`primus train` and local.py call it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primus.errors import MissingError, UsageError
from primus.run import FINAL_STATES, RUN_ID, RunDirectory, Status, explained, new_run_id

RUN_ID_VARIABLE = "PRIMUS_RUN_ID"
"""Names the run: one that exists goes on with its next attempt. A batch system sets it, so that a requeued job does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """What all nodes take from node 0."""

    run_id: str
    attempt: int = 1


def choose_run_id(environ: Mapping[str, str]) -> str:
    """The run id of $PRIMUS_RUN_ID, or a new one."""
    wanted = environ.get(RUN_ID_VARIABLE)
    if not wanted:
        return new_run_id()
    if not RUN_ID.fullmatch(wanted):
        raise UsageError(
            f"{RUN_ID_VARIABLE}={wanted}: a run's name is made of letters, digits and . _ - (up to 128), and begins "
            "with a letter or a digit"
        )
    return wanted


def next_attempt(run_dir: RunDirectory) -> int:
    """The number of the launch that is about to begin there."""
    status = _last_status(run_dir)
    return 1 if status is None else status.attempt + 1


def has_begun(run_dir: RunDirectory) -> bool:
    """Whether an attempt there has come as far as training: what it saved since is its own, also after --no-resume."""
    return run_dir.metrics.exists()


def earlier_attempts(run_dir: RunDirectory) -> tuple[Mapping[str, Any], ...]:
    """What every launch there so far came to, the first one first."""
    status = _last_status(run_dir)
    return () if status is None else (*status.attempts, _summary(status))


def set_aside(run_dir: RunDirectory, attempt: int) -> None:
    """Move what the attempt before this one has left, so that nobody takes it for this one's. What every attempt goes
    on with stays: metrics and status. Node 0 does it before the others begin; they do it where they have a disk of
    their own."""
    target = run_dir.earlier(attempt - 1)
    if attempt == 1 or target.exists():
        return
    with explained(f"can't set aside the last attempt of {run_dir.path}"):
        target.mkdir(parents=True)
        for path in (
            run_dir.logs,
            run_dir.failures,
            run_dir.heartbeats,
            run_dir.facts,
            run_dir.manifest,
            run_dir.experiment,
        ):
            if path.exists():
                path.rename(target / path.name)


def _last_status(run_dir: RunDirectory) -> Status | None:
    try:
        return run_dir.read_status()
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise MissingError(f"{run_dir.status} can't be read ({error}): choose another {RUN_ID_VARIABLE}.") from error


def _summary(status: Status) -> dict[str, Any]:
    over = status.state in (*FINAL_STATES, "restarting")
    return {
        "attempt": status.attempt,
        "state": status.state if status.state in FINAL_STATES else "failed",
        "exit_status": status.exit_status,
        "cause": status.cause if over else f"the launcher on {status.host} went away",
        "started": status.started,
        "ended": status.ended or status.updated,
    }

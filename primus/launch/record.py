"""How a launch ended, and what status.json says of it. local.py makes these; restart.py asks what comes next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from primus.launch.attempt import earlier_attempts
from primus.run import RunDirectory, State, Status, utc_now

if TYPE_CHECKING:
    from primus.launch.diagnosis import Diagnosis


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended."""

    state: State
    exit_status: int
    cause: str | None = None
    text: str
    """For the terminal."""

    diagnosis: Diagnosis | None = None
    """Why, for a run that failed, when that is known."""

    failures: tuple[Mapping[str, Any], ...] = ()

    again: float | None = None
    """Seconds until the job is started again; None when it is not."""


class Record:
    """Keeps status.json, on one node of the job."""

    def __init__(self, run_dir: RunDirectory, attempt: int, *, keep: bool) -> None:
        self._run_dir, self._keep = run_dir, keep
        now = utc_now()
        self.status = Status(
            state="starting",
            attempt=attempt,
            attempts=earlier_attempts(run_dir) if keep else (),
            host=os.uname().nodename,
            pid=os.getpid(),
            started=now,
            updated=now,
        )
        self._write()

    def running(self) -> None:
        self._change(state="running")

    def end(self, outcome: Outcome) -> None:
        self._change(
            state=outcome.state,
            exit_status=outcome.exit_status,
            cause=outcome.cause,
            diagnosis=None if outcome.diagnosis is None else asdict(outcome.diagnosis),
            failures=tuple({k: v for k, v in failure.items() if k != "traceback"} for failure in outcome.failures),
            ended=utc_now(),
        )

    def _change(self, **fields: Any) -> None:
        self.status = replace(self.status, updated=utc_now(), **fields)
        self._write()

    def _write(self) -> None:
        if self._keep:
            self._run_dir.write_status(self.status)

"""SLURM's words for the state of a job, in one table: what each means for the one who waits for it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

from primus.errors import ExitStatus

Phase = Literal["pending", "running", "ended"]

Name = Literal["pending", "running", "succeeded", "failed", "interrupted", "lost"]
"""Our words, those of status.json as far as both have them. `interrupted` is a job that was asked to stop, or told;
`lost` one of whose end nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState:
    """One of SLURM's words."""

    phase: Phase
    words: str
    exit_status: int | None = None
    """Of a job that has ended without a word of its own; None while it has not."""

    @property
    def name(self) -> Name:
        if self.phase != "ended":
            return self.phase
        return "succeeded" if self.exit_status == 0 else "interrupted" if self.exit_status == _STOPPED else "failed"


_STOPPED = 128 + signal.SIGTERM

STOPPED = (128 + signal.SIGUSR1, _STOPPED)
"""Exit statuses of a training that was asked to stop and did."""

STATES = {
    "PENDING": JobState(phase="pending", words="waits"),
    "REQUEUED": JobState(phase="pending", words="waits to start again"),
    "REQUEUE_FED": JobState(phase="pending", words="waits to start again"),
    "REQUEUE_HOLD": JobState(phase="pending", words="is held after it was requeued"),
    "SPECIAL_EXIT": JobState(phase="pending", words="is held after it was requeued"),
    "RESV_DEL_HOLD": JobState(phase="pending", words="is held, since its reservation is gone"),
    "CONFIGURING": JobState(phase="running", words="gets its nodes ready"),
    "RUNNING": JobState(phase="running", words="runs"),
    "SUSPENDED": JobState(phase="running", words="is suspended"),
    "STOPPED": JobState(phase="running", words="is stopped"),
    "SIGNALING": JobState(phase="running", words="is being signalled"),
    "STAGE_OUT": JobState(phase="running", words="copies its results"),
    "RESIZING": JobState(phase="running", words="changes its size"),
    "COMPLETING": JobState(phase="running", words="is ending"),
    "COMPLETED": JobState(phase="ended", words="is done", exit_status=0),
    "FAILED": JobState(phase="ended", words="failed before its script could say why", exit_status=ExitStatus.SERVICE),
    "CANCELLED": JobState(phase="ended", words="was cancelled", exit_status=_STOPPED),
    "TIMEOUT": JobState(phase="ended", words="reached its time limit", exit_status=_STOPPED),
    "DEADLINE": JobState(phase="ended", words="could not end before its deadline", exit_status=_STOPPED),
    "PREEMPTED": JobState(phase="ended", words="made way for another job", exit_status=_STOPPED),
    "REVOKED": JobState(phase="ended", words="runs in another cluster", exit_status=ExitStatus.SERVICE),
    "NODE_FAIL": JobState(phase="ended", words="lost a node", exit_status=ExitStatus.SERVICE),
    "BOOT_FAIL": JobState(phase="ended", words="got a node that did not start", exit_status=ExitStatus.SERVICE),
    "OUT_OF_MEMORY": JobState(phase="ended", words="ran out of memory", exit_status=128 + signal.SIGKILL),
}

UNKNOWN = JobState(phase="running", words="is in a state that this version of Primus does not know")


def read_state(word: str) -> JobState:
    """What a word of squeue or sacct means; sacct adds to some, as in `CANCELLED by 1000`."""
    return STATES.get(word.split()[0].rstrip("+") if word.strip() else "", UNKNOWN)

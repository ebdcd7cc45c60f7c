"""What the end of the workers means: the exit status of the process that ran them, together with what they left behind
and what was going on on the other nodes. attend.py asks it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from primus.job import Job
from primus.launch.account import account_of, account_without_notes
from primus.launch.devices import gpu_of
from primus.launch.failure import Ended, note_of, record_exit, tail_of
from primus.launch.guard import End
from primus.launch.kernel import KernelWatch
from primus.launch.record import Outcome
from primus.launch.render import first_log
from primus.launch.supervise import Supervisor
from primus.run import RunDirectory

if TYPE_CHECKING:
    from primus.launch.container.render import Container

_ASKED_TO_STOP = {128 + number: number for number in (signal.SIGTERM, signal.SIGUSR1)}

_FAILURES_KEPT = 16
"""Failed workers that status.json lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The end of the workers of one node."""

    job: Job
    status: int
    """Exit status of what ran them, as a shell has it."""

    supervisor: Supervisor
    container: Container | None
    kernel: KernelWatch
    environ: Mapping[str, str]
    shown: tuple[int, ...]
    """Ranks whose log is on the terminal."""


def clean_end(part: Part) -> Outcome | None:
    """The outcome when no worker here has failed; None when some have."""
    job, asked = part.job, part.supervisor.asked
    if part.status == 0:
        return Outcome(state="succeeded", exit_status=0, text=f"{job.name}: done. Run directory: {job.run_dir}")
    if asked is not None:
        return _stopped(job, 128 + asked, f"stopped by {asked.name}{_manner(part.supervisor)}")
    if part.status in _ASKED_TO_STOP:
        return _stopped(job, part.status, f"the workers were asked to stop by {_ASKED_TO_STOP[part.status].name}")
    return None


def _manner(supervisor: Supervisor) -> str:
    """How those ended that had been asked to."""
    if supervisor.requests > 1:
        return ", killed since a second signal came"
    return ", killed since it did not end in time" if supervisor.killed else ""


def ended_here(part: Part, end: End | None, elsewhere: Sequence[Mapping[str, Any]]) -> Outcome:
    """The outcome of a part with a failure: of a worker, or for the reason `end` that the launcher ended it for.
    `elsewhere` are notes of failed workers that other nodes have sent."""
    job = part.job
    if end is not None and end.kind == "stopped":
        return _stopped(job, end.exit_status, end.cause)
    if end is not None and end.kind in ("stalled", "lost"):
        text = f"Training failed: {end.cause}. Run directory: {job.run_dir}"
        return Outcome(state="failed", exit_status=end.exit_status, cause=end.cause, text=text)
    not_started = _not_started(part) if end is None else None
    if not_started is not None:
        return not_started
    notes = _notes(part, elsewhere, alone=end is None)
    if end is not None and not notes:
        text = f"Training failed {end.cause}"
        return Outcome(state="failed", exit_status=end.exit_status, cause=end.cause, text=text)
    return _failed(part, notes)


def _stopped(job: Job, status: int, cause: str) -> Outcome:
    text = f"{job.name}: {cause}. Run directory: {job.run_dir}"
    return Outcome(state="interrupted", exit_status=status, cause=cause, text=text)


def _not_started(part: Part) -> Outcome | None:
    """The outcome when the container's runtime failed, not what ran inside."""
    if part.container is None:
        return None
    from primus.launch.container.explain import why_not_started

    reason = why_not_started(part.container, part.status, tail_of(first_log(part.job), 10))
    if reason is None:
        return None
    text = f"Training did not begin: {reason}"
    return Outcome(state="failed", exit_status=part.status, cause=reason.partition("\n")[0], text=text)


def _notes(part: Part, elsewhere: Sequence[Mapping[str, Any]], *, alone: bool) -> list[Mapping[str, Any]]:
    """What is known of failed workers, on all nodes."""
    job, run_dir = part.job, RunDirectory(part.job.run_dir)
    own: list[Mapping[str, Any]] = []
    if alone and job.resources.world_size == 1:  # a worker that has no agent
        note = note_of(
            Ended(rank=0, local_rank=0, pid=part.supervisor.pid, status=part.status), node=0, attempt=job.attempt
        )
        record_exit(run_dir, note)
        own = [note]
    found: list[Mapping[str, Any]] = [*run_dir.read_failures()] or own  # a full disk takes no note
    known = {failure["rank"] for failure in found}
    return found + [failure for failure in elsewhere if failure["rank"] not in known]


def _failed(part: Part, notes: Sequence[Mapping[str, Any]]) -> Outcome:
    job = part.job
    if notes:
        account = account_of(
            job,
            notes,
            shown=part.shown,
            kernel=part.kernel.evidence,
            gpu=lambda local_rank: gpu_of(local_rank, part.environ),
        )
    else:
        account = account_without_notes(job, part.status)
    several = job.resources.nnodes > 1 and account.failures
    return Outcome(
        state="failed",
        exit_status=account.failures[0]["exit_status"] if several else part.status,
        cause=account.cause,
        diagnosis=account.diagnosis,
        text=account.text,
        failures=account.failures[:_FAILURES_KEPT],
    )

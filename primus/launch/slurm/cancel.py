"""Ends jobs: asks the training to save first, waits for that a while, then lets SLURM end what is left. `primus slurm
cancel` calls it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from primus.backends import registry
from primus.errors import ServiceError
from primus.experiment import load
from primus.launch.slurm.find import Found
from primus.launch.slurm.queue import Row, queued
from primus.launch.slurm.record import JobFiles, read_record
from primus.launch.slurm.states import read_state
from primus.launch.slurm.status import status_of
from primus.launch.slurm.tools import call
from primus.runs.summary import last_report

_INTERVAL = 0.3
_END = 60.0
"""Seconds that SLURM gets to end a job."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled:
    """What has become of one job."""

    job: str
    run: Path | None
    words: str
    """In a few words: `stopped after saving`."""

    ended: bool
    """Whether it has ended; SLURM may be slow."""

    checkpoint: Path | None = None
    """The newest one of its experiment."""

    step: int | None = None
    """The last step that it has reported."""


def cancel(
    jobs: Sequence[Found], environ: Mapping[str, str], *, patience: float, tell: Callable[[str], None]
) -> list[Cancelled]:
    """End these jobs. Training gets `patience` seconds to save."""
    words = {found.job: _ask(found, environ, saves=patience > 0) for found in jobs}
    asked = [found for found in jobs if words[found.job] == _ASKED]
    if asked:
        tell(f"Asked to save and end; waiting up to {patience:.0f} s")
        late = _wait(asked, environ, patience)
        for found in late:
            words[found.job] = f"ended, as it did not end by itself within {patience:.0f} s"
            call("scancel", [found.job], environ)
    for found in jobs:
        _end_next(found, environ)
    left = {found.job for found in _wait([each for each in jobs if words[each.job] != _OVER], environ, _END)}
    return [_result(found, words[found.job], ended=found.job not in left) for found in jobs]


_ASKED = "stopped by itself when asked to"
_OVER = "had ended already"


def _ask(found: Found, environ: Mapping[str, str], *, saves: bool) -> str:
    """Begin to end one job; what is done in words."""
    if found.silence:
        raise ServiceError(f"job {found.job} can't be ended now: {found.silence}")
    if found.row is None or found.row.source != "squeue" or read_state(found.row.word).phase == "ended":
        return _OVER
    if found.run is None or found.row.word != "RUNNING" or not saves:
        call("scancel", [found.job], environ)
        return "ended at once" if found.row.word == "RUNNING" else "taken from the queue"
    batch = found.row.command.endswith(".sh")  # else salloc's, whose script SLURM does not know
    call("scancel", ["--batch", "--signal=TERM", found.job] if batch else ["--signal=USR1", f"{found.job}.0"], environ)
    return _ASKED


def _wait(jobs: Sequence[Found], environ: Mapping[str, str], seconds: float) -> list[Found]:
    """Wait for the end of jobs; those that have not ended in time."""
    deadline = time.monotonic() + seconds
    left = list(jobs)
    while left:
        rows = {row.job: row for row in queued(["-j", ",".join(found.job for found in left)], environ)}
        left = [found for found in left if not _is_over(rows.get(found.job))]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_INTERVAL)
    return []


def _is_over(row: Row | None) -> bool:
    return row is None or read_state(row.word).phase == "ended"


def _end_next(found: Found, environ: Mapping[str, str]) -> None:
    """End the job of a chain that was to go on after this one, if the job's script has not done so."""
    record = None if found.run is None else read_record(found.run)
    if record is not None and record.jobs[-1] != found.job:
        call("scancel", [record.jobs[-1]], environ)


def _result(found: Found, words: str, *, ended: bool) -> Cancelled:
    if found.run is None:
        return Cancelled(job=found.job, run=None, words=words, ended=ended)
    if words == _OVER:
        words = f"{words}: {status_of(found).words}"
    step = last_report(found.run / "metrics.jsonl").get("step")
    return Cancelled(
        job=found.job, run=found.run, words=words, ended=ended, checkpoint=newest_checkpoint(found.run), step=step
    )


def newest_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of the run's experiment."""
    files = JobFiles(run)
    if not files.experiment.exists():
        return None
    experiment = load(files.experiment)
    return registry.get(experiment.framework).newest_checkpoint(experiment)

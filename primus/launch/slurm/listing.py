"""All jobs at once, for `primus slurm list`: those that SLURM's queue knows, and those of runs below a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from primus.errors import MissingError, ServiceError
from primus.launch.slurm.find import Found, recorded_runs, run_of
from primus.launch.slurm.queue import Row, of_user, order, recorded
from primus.launch.slurm.record import JobFiles, read_record
from primus.launch.slurm.states import read_state
from primus.launch.slurm.status import JobStatus, status_of


def list_jobs(place: Path, environ: Mapping[str, str]) -> tuple[list[JobStatus], str]:
    """The user's jobs that Primus has submitted, by id; and why SLURM could not be asked, if so."""
    try:
        rows, silence = of_user(environ), ""
    except (ServiceError, MissingError) as error:
        rows, silence = [], str(error).partition("\n")[0]
    found: dict[Path, Found] = {}
    for row in rows:  # of several jobs of one run, the last that has begun
        run = run_of(row)
        if run is not None and not (run in found and _waits_for(found[run].row, row)):
            found[run] = Found(job=row.job, run=run, row=row)
    older = [
        Found(job=record.current, run=run, record=record, silence=silence)
        for run in recorded_runs([place])
        if run not in found and (record := read_record(run)) is not None
    ]
    every = [*_with_accounts(older, environ), *found.values()]
    return sorted(map(status_of, every), key=lambda job: order(job.job)), silence


def _waits_for(earlier: Row | None, row: Row) -> bool:
    """Whether a job of a chain waits for the end of an earlier one."""
    phases = [read_state(each.word).phase for each in (earlier, row) if each is not None]
    return phases == ["running", "pending"]


def _with_accounts(jobs: list[Found], environ: Mapping[str, str]) -> list[Found]:
    """With what the accounts say of those that have not noted how they ended; one question for all of them."""
    open_ended = {each.job for each in jobs if each.run is not None and not _has_ended(each.run)}
    if not open_ended:
        return jobs
    known = {row.job: row for row in recorded(",".join(sorted(open_ended)), environ)}
    return [
        Found(job=each.job, run=each.run, record=each.record, row=known.get(each.job), silence=each.silence)
        for each in jobs
    ]


def _has_ended(run: Path) -> bool:
    attempts = JobFiles(run).read_attempts()
    return bool(attempts) and attempts[-1]["state"] == "ended"

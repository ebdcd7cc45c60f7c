"""From what a user calls a job (its id, its run, its run directory, or nothing for the newest) to the job and its run.
The commands that look at jobs call it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from primus.errors import MissingError, ServiceError, UsageError
from primus.launch.slurm.queue import Row, ask, queued
from primus.launch.slurm.record import JobFiles, Record, read_record
from primus.launch.slurm.states import read_state
from primus.runs.find import find_runs

RECORD = "slurm.json"

_JOB = re.compile(r"\d+(?:_\d+)?")
_SCRIPT = "/slurm/job.sh"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One job."""

    job: str
    run: Path | None = None
    """Its run directory; None for a job that is not one of Primus's."""

    record: Record | None = None
    row: Row | None = None
    """What SLURM says of it; None when it knows nothing of it."""

    silence: str = ""
    """Why SLURM could not be asked."""


def find(name: str | None, place: Path, environ: Mapping[str, str]) -> list[Found]:
    """The job that is meant, or every task of an array. MissingError when there is none."""
    if name is None:
        runs = recorded_runs([place])
        if not runs:
            raise MissingError(f"no job below {place}; name one by its id, or its folder with --in")
        return [_of_run(max(runs, key=lambda run: run.name), environ)]
    path = Path(name)
    if (path / RECORD).is_file():
        return [_of_run(path.absolute(), environ)]
    if _JOB.fullmatch(name):
        return _of_job(name, place, environ)
    fitting = [run for run in recorded_runs([place]) if run.name.startswith(name)]
    exact = [run for run in fitting if run.name == name]
    if not fitting:
        raise MissingError(f"{name}: neither a job's id nor a run of a job below {place}")
    if len({run.name for run in exact or fitting}) > 1:
        raise UsageError(f"{name} may mean {len(fitting)} runs: {', '.join(run.name for run in fitting[:5])} …")
    return [_of_run(run, environ) for run in exact or fitting]


def recorded_runs(places: Sequence[Path]) -> list[Path]:
    """The runs below these places that a job belongs to, by time."""
    return find_runs([place.absolute() for place in places if place.exists()], marker=RECORD)


def run_of(row: Row) -> Path | None:
    """The run directory of a job, by its script; None for a job that is not one of Primus's."""
    if not row.command.endswith(_SCRIPT):
        return None
    first = Path(row.command.removesuffix(_SCRIPT))
    task = row.job.partition("_")[2]
    if not task:
        return first
    link = JobFiles(first).runs / task
    return link.resolve() if link.is_symlink() else first


def _of_run(run: Path, environ: Mapping[str, str]) -> Found:
    record = read_record(run)
    assert record is not None
    job = record.current
    try:
        rows, silence = ask(job, environ, cluster=record.cluster), ""
        if record.next is not None and all(read_state(row.word).phase == "ended" for row in rows[-1:]):
            job = record.next
            rows = ask(job, environ, cluster=record.cluster)
    except (ServiceError, MissingError) as error:
        rows, silence = [], str(error).partition("\n")[0]
    return Found(job=job, run=run, record=record, row=rows[-1] if rows else None, silence=silence)


def _of_job(job: str, place: Path, environ: Mapping[str, str]) -> list[Found]:
    """By SLURM as long as it knows the job, since that leads to the run wherever it is; else by the records."""
    try:
        rows, silence = queued(["-j", job], environ), ""
    except (ServiceError, MissingError) as error:
        rows, silence = [], str(error).partition("\n")[0]
    runs = {row.job: run_of(row) for row in rows}
    if rows and all(run is not None and (run / RECORD).is_file() for run in runs.values()):
        return [_of_run(run, environ) for run in runs.values() if run is not None]
    known = [run for run in recorded_runs([place]) if _belongs(read_record(run), job)]
    if known:
        return [_of_run(run, environ) for run in known]
    rows = rows or ([] if silence else ask(job, environ))
    if not rows:
        why = f" (not asked: {silence})" if silence else ""
        raise MissingError(
            f"SLURM knows no job {job}, or not any more{why}, and no run below {place} belongs to it; --in names "
            "another folder"
        )
    return [Found(job=row.job, run=runs.get(row.job), row=row) for row in rows]


def _belongs(record: Record | None, job: str) -> bool:
    return record is not None and any(each == job or each.partition("_")[0] == job for each in record.jobs)

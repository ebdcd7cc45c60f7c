"""`primus slurm status`, `list`, `logs` and `cancel`: jobs that were submitted."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primus.commands.options import no_nan
from primus.errors import ExitStatus, UsageError
from primus.table import table

if TYPE_CHECKING:
    from primus.launch.slurm.find import Found
    from primus.launch.slurm.status import JobStatus

WORKSPACE = Path("output")
"""Where runs are unless an experiment says otherwise."""

Job = Annotated[
    str | None,
    typer.Argument(metavar="[JOB]", help="Job id, run id or run directory.  [default: the newest]", show_default=False),
]
In = Annotated[Path, typer.Option("--in", metavar="FOLDER", help="A workspace, or any folder above the runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    app.command(short_help="Show how a job stands.")(status)
    app.command("list", short_help="List jobs.")(list_)
    app.command(short_help="Show what a job prints.")(logs)
    app.command(short_help="End a job, after it has saved.")(cancel)


def status(job: Job = None, place: In = WORKSPACE, as_json: JsonOption = False) -> None:
    """Show how a job stands: by SLURM's queue, its accounts where there are any, and what the job itself writes."""
    from primus.launch.slurm.status import status_of

    found = [status_of(each) for each in _find(job, place)]
    if as_json:
        print(json.dumps([_plain(each) for each in found], indent=2))
    elif len(found) > 1:
        print(_table(found))
    else:
        print("\n".join(f"{name:<14}{value}" for name, value in _facts(found[0]) if value))


def list_(
    place: In = WORKSPACE,
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the newest N.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List your jobs that Primus has submitted, the newest at the end: all that SLURM knows, and those of earlier runs
    below the folder."""
    from primus.launch.slurm.listing import list_jobs

    jobs, silence = list_jobs(place, os.environ)
    jobs = jobs[-(last or 0) :]
    if silence:
        print(f"Warning: SLURM was not asked: {silence}", file=sys.stderr)
    if as_json:
        print("[" + ",\n ".join(json.dumps(_plain(each)) for each in jobs) + "]")
    else:
        print(_table(jobs) if jobs else "No jobs.")


def logs(
    job: Job = None,
    node: Annotated[int | None, typer.Option(min=0, metavar="K", help="What this node prints.  [default: 0]")] = None,
    rank: Annotated[int | None, typer.Option(min=0, metavar="J", help="What this worker process prints.")] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Until the job has ended, through requeues; leave with its exit status."),
    ] = False,
    place: In = WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths of all its logs.")] = False,
) -> None:
    """Show what a job prints: its script and its first node, another node, or one rank."""
    from primus.launch.slurm.logs import choose, every
    from primus.launch.slurm.record import JobFiles

    found = _one(_find(job, place))
    assert found.run is not None
    if as_json:
        paths = {name: str(path) for name, path in every(found.run).items()}
        print(json.dumps({"job": found.job, "run": str(found.run), "logs": paths}, indent=2))
        return
    chosen = choose(found.run, node=node, rank=rank)
    if follow:
        from primus.launch.slurm.attach import wait

        raise typer.Exit(wait([(found.job, JobFiles(found.run))], os.environ, logs=chosen))
    shown = [path for path in chosen if path.exists()]
    for path in shown:
        sys.stdout.buffer.write(path.read_bytes())
    if not shown:
        print(f"Job {found.job} has printed nothing yet: there is no {chosen[-1]}", file=sys.stderr)


def cancel(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Job id, run id or run directory.")],
    timeout: Annotated[
        float,
        typer.Option(
            min=0,
            callback=no_nan,
            metavar="SECONDS",
            help="Time to save, before SLURM ends the job; 0 does it at once.",
        ),
    ] = 120.0,
    place: In = WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """End a job, after asking its training to save; say what was saved."""
    from primus.launch.slurm.cancel import cancel
    from primus.launch.slurm.record import JobFiles

    results = cancel(
        _find(job, place), os.environ, patience=timeout, tell=lambda text: print(text, file=sys.stderr, flush=True)
    )
    if as_json:
        print(json.dumps([_jsonable(asdict(each)) for each in results], indent=2))
    else:
        for each in results:
            print(f"Job {each.job} {each.words}.")
            if each.run is not None and JobFiles(each.run).experiment.exists():
                step = "" if each.step is None else f"; step {each.step} was the last one"
                print(f"Newest checkpoint: {each.checkpoint or 'none'}{step}")
    late = [each.job for each in results if not each.ended]
    if late:
        print(f"SLURM has not ended job {' '.join(late)} yet; look with `primus slurm status`", file=sys.stderr)
        raise typer.Exit(ExitStatus.SERVICE)


def _find(job: str | None, place: Path) -> list[Found]:
    from primus.launch.slurm.find import find

    return find(job, place, os.environ)


def _one(found: Sequence[Found]) -> Found:
    if len(found) > 1:
        raise UsageError(f"this is an array; name one of its tasks: {', '.join(each.job for each in found[:8])}")
    if found[0].run is None:
        raise UsageError(f"job {found[0].job} was not submitted by Primus: its logs are where its script says")
    return found[0]


def _table(jobs: Sequence[JobStatus]) -> str:
    header = ("job", "experiment", "state", "nodes", "step", "loss", "time", "what")
    rows = [
        (
            job.job,
            job.experiment,
            job.state if len(job.attempts) < 2 else f"{job.state} (attempt {len(job.attempts)})",
            str(job.nnodes),
            "" if job.step is None else f"{job.step:,}",
            "" if job.loss is None else f"{job.loss:.4f}",
            job.used,
            (job.cause or job.words).partition("\n")[0][:80],
        )
        for job in jobs
    ]
    return table(header, rows, right=(3, 4, 5, 6))


def _facts(job: JobStatus) -> list[tuple[str, str]]:
    nodes = f"{job.nnodes} node{'s' * (job.nnodes > 1)}" + (f": {job.nodes}" if job.nodes else "")
    facts = [
        ("job", job.job + (f" in partition {job.partition}" if job.partition else "")),
        ("state", f"{job.state}: {job.words}"),
        ("starts", f"{job.expected_start} as SLURM expects now" if job.expected_start else ""),
        ("exit status", "" if job.exit_status is None else str(job.exit_status)),
        ("cause", job.cause or ""),
        ("run", str(job.run or "")),
        ("nodes", nodes),
        ("time", job.used + (f" of {job.limit}" if job.used and job.limit else "")),
        ("step", "" if job.step is None else f"{job.step:,}"),
        ("loss", "" if job.loss is None else f"{job.loss:.4f}"),
        ("failed nodes", ", ".join(job.failed_nodes)),
        ("jobs", " -> ".join(job.chain)),
    ]
    if len(job.attempts) > 1:
        facts += [(f"attempt {count}", _attempt(each)) for count, each in enumerate(job.attempts, 1)]
    return facts


def _attempt(attempt: Any) -> str:
    end = "has not ended" if attempt["ended"] is None else f"ended {attempt['ended']}, status {attempt['exit_status']}"
    why = f": {attempt['why']}" if attempt.get("why") else ""
    return f"job {attempt['job']} on {attempt['nodes']}, began {attempt['started']}, {end}{why}"


def _plain(job: JobStatus) -> dict[str, Any]:
    data = _jsonable({name: getattr(job, name) for name in job.__slots__})
    finite = job.loss is None or abs(job.loss) < float("inf")
    return {**data, "loss": job.loss if finite else str(job.loss)}


def _jsonable(data: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in data.items()}

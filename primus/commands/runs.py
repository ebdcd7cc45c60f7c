"""`primus runs`: what was run, how it went, and what of it can go. cli.py loads `app`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from primus.errors import UsageError
from primus.launch.terminal import format_duration
from primus.runs.clean import Rule, choose, parse_age, remove, size_of
from primus.runs.compare import Difference
from primus.runs.find import find_run, find_runs
from primus.runs.summary import RunSummary, summarize
from primus.table import table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)

WORKSPACE = Path("output")
"""Where runs are unless an experiment says otherwise."""

States = Literal["starting", "running", "restarting", "succeeded", "failed", "interrupted", "lost"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
In = Annotated[Path, typer.Option("--in", metavar="FOLDER", help="A workspace, or any folder above or below the runs.")]


@app.callback(help="Look back at runs.")
def _runs() -> None:
    pass


@app.command("list")
def list_(
    places: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER...]", help="Where to look.  [default: ./output]")
    ] = None,
    state: Annotated[States | None, typer.Option(help="Only runs that stand so.")] = None,
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the newest N.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs, the newest at the end."""
    runs = _runs_below(places)
    runs = [run for run in runs if state in (None, run.state)][-(last or 0) :]
    if as_json:
        print(json.dumps([_plain(run) for run in runs], indent=2))
    else:
        print(_table(runs) if runs else "No runs.")


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its id or the beginning of it.")],
    place: In = WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show one run: how it stands, what ended it, what it ran on."""
    from primus.report.facts import notes_of_version
    from primus.runs.files import read_json

    path = find_run(run, [place])
    summary = summarize(path)
    notes: list[str] = []
    status, manifest = read_json(path / "status.json", notes), read_json(path / "manifest.json", notes)
    notes_of_version(summary, status, manifest, notes)
    for note in notes:
        print(f"Warning: {path}: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps({**_plain(summary), "status": status, "manifest": manifest}, indent=2))
        return
    print("\n".join(f"{name:<12}{value}" for name, value in _facts(summary, status, manifest) if value))


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Folders or ids of two runs or more.")],
    place: In = WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between runs, and how each went."""
    from primus.runs.compare import compare as differences_of

    if len(runs) < 2:
        raise UsageError("compare takes two runs or more")
    paths = [find_run(run, [place]) for run in runs]
    notes: list[str] = []
    differences = differences_of(paths, notes)
    for note in notes:
        print(f"Warning: {note}", file=sys.stderr)
    if as_json:
        found = [{"part": each.part, "name": each.name, "values": list(each.values)} for each in differences]
        print(json.dumps({"runs": [str(path) for path in paths], "differences": found}, indent=2))
        return
    print(_differences([path.name for path in paths], differences))


@app.command()
def clean(
    places: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER...]", help="Where to look.  [default: ./output]")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Keep the newest N runs of each experiment.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only runs that ended this long ago: 12h, 30d, 8w.")
    ] = None,
    state: Annotated[States | None, typer.Option(help="Only runs that stand so.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, what would be deleted is shown.")] = False,
) -> None:
    """Delete the folders of old runs: logs, metrics, manifests. Checkpoints stay, and runs that have not ended."""
    if keep is None and older_than is None and state is None:
        raise UsageError("say which runs may go: --keep N, --older-than 30d, --state failed, or several of them")
    rule = Rule(keep=keep, older_than=None if older_than is None else parse_age(older_than), state=state)
    runs = choose(_runs_below(places), rule)
    total = 0
    for run in runs:
        size = size_of(run.path)
        total += size
        print(f"{'deleted' if yes else 'would delete'} {run.path} ({run.state}, {size / 1e6:,.1f} MB)")
        if yes:
            remove(run.path)
    word = "Deleted" if yes else "Would delete"
    print(
        f"{word} {len(runs)} run{'s' * (len(runs) != 1)}, {total / 1e6:,.1f} MB.{_hint(yes=yes, any_runs=bool(runs))}"
    )


def _runs_below(places: Sequence[Path] | None) -> list[RunSummary]:
    """Every run there; where one may not look, is said."""
    notes: list[str] = []
    runs = [summarize(path) for path in find_runs(places or [WORKSPACE], notes=notes)]
    for note in notes:
        print(f"Warning: {note}", file=sys.stderr)
    return runs


def _hint(*, yes: bool, any_runs: bool) -> str:
    return " Do it with --yes." if any_runs and not yes else ""


def _table(runs: Sequence[RunSummary]) -> str:
    header = ("run", "experiment", "state", "step", "loss", "tokens/s", "time", "cause")
    rows = [
        (
            run.id,
            run.experiment,
            run.state if run.attempt == 1 else f"{run.state} (attempt {run.attempt})",
            "" if run.step is None else f"{run.step:,}",
            "" if run.loss is None else f"{run.loss:.4f}",
            "" if run.tokens_per_second is None else f"{run.tokens_per_second:,.0f}",
            _duration(run.seconds),
            run.cause.partition("\n")[0][:80],
        )
        for run in runs
    ]
    return table(header, rows, right=(3, 4, 5, 6))


def _facts(run: RunSummary, status: dict[str, Any], manifest: dict[str, Any]) -> list[tuple[str, str]]:
    diagnosis, resources = _part(status, "diagnosis"), _part(manifest, "resources")
    command = manifest.get("command")
    return [
        ("run", str(run.path)),
        ("state", run.state + (f", attempt {run.attempt}" if run.attempt > 1 else "")),
        ("exit status", "" if run.exit_status is None else str(run.exit_status)),
        ("cause", run.cause),
        ("evidence", str(diagnosis.get("evidence") or "")),
        ("remedy", str(diagnosis.get("remedy") or "")),
        ("started", run.started),
        ("ended", run.ended),
        ("time", _duration(run.seconds)),
        ("step", "" if run.step is None else f"{run.step:,}"),
        ("loss", "" if run.loss is None else f"{run.loss:.4f}"),
        ("tokens/s", "" if run.tokens_per_second is None else f"{run.tokens_per_second:,.0f}"),
        ("backend", str(manifest.get("backend") or "")),
        ("nodes", str(resources.get("nnodes") or "")),
        ("processes", str(resources.get("nproc_per_node") or "") and f"{resources['nproc_per_node']} per node"),
        ("command", " ".join(map(str, command)) if isinstance(command, list) else ""),
    ]


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    part = data.get(name)
    return part if isinstance(part, dict) else {}


def _differences(names: Sequence[str], differences: Sequence[Difference]) -> str:
    rows = [(each.part, each.name, *(value[:60] for value in each.values)) for each in differences]
    return table(("", "", *names), rows)


def _plain(run: RunSummary) -> dict[str, Any]:
    data = {name: getattr(run, name) for name in RunSummary.__slots__}
    loss = data["loss"]
    finite = loss is None or abs(loss) < float("inf")
    return {**data, "path": str(run.path), "loss": loss if finite else str(loss), "seconds": run.seconds}


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(seconds)

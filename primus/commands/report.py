"""`primus report`: what happened in runs, as a page, a table or a plot. cli.py loads `app`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from primus.commands.options import no_nan
from primus.errors import UsageError
from primus.output import STANDARD
from primus.runs.find import find_run

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_FILES = ("experiment.yaml", "manifest.json", "metrics.jsonl")
"""A folder that holds one of them was a run, even if its status.json is lost."""

_PLOTTED = ("loss", "grad_norm", "tokens_per_second", "mfu")


@app.command()
def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Folders of runs, or their ids or the beginnings.")
    ],
    place: Annotated[
        Path, typer.Option("--in", metavar="FOLDER", help="A workspace, or any folder above or below the runs.")
    ] = Path("output"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The page.  [default: report.html in the run, or here for several]"
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every reported step as CSV, and no page.")
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the main curves here, and write no page.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Write the page again until the runs are over.")] = False,
    every: Annotated[
        float, typer.Option(min=0.5, callback=no_nan, metavar="SECONDS", help="How often, with --watch.")
    ] = 5.0,
) -> None:
    """Make a page about one run, or several overlaid: curves, what ran, what differs, what went wrong."""
    if watch and (csv or plot):
        raise UsageError("--watch is for the page: leave out --csv and --plot")
    if (watch and output == STANDARD) or (plot and csv == STANDARD):
        raise UsageError("- is the standard output, for one page or one table: leave out --watch and --plot")
    paths = list(dict.fromkeys(_find(run, place) for run in runs))
    if csv or plot:
        _write_others(paths, csv, plot=plot)
        return
    target = output or (paths[0] if len(paths) == 1 else Path()) / "report.html"
    _write_page(paths, target, every if watch else None)


def _find(name: str, place: Path) -> Path:
    path = Path(name)
    found = path if name and any((path / file).is_file() for file in _FILES) else find_run(name, [place])
    return found.absolute()  # `.` has no name


def _write_page(paths: Sequence[Path], target: Path, every: float | None) -> None:
    from primus.report.page import watch_report, write_report

    if every is None:
        write_report(paths, target)
        _say(target)
        return
    try:
        watch_report(paths, target, seconds=every, written=lambda: print(target, flush=True))
    except KeyboardInterrupt:  # the usual end of watching; the last page must not wait for another
        write_report(paths, target)
        sys.exit(130)


def _say(written: Path) -> None:
    if written.is_file():  # not behind the text itself, in /dev/stdout
        print(written)


def _write_others(paths: Sequence[Path], csv: Path | None, *, plot: bool) -> None:
    from primus.report.data import read_runs

    runs = read_runs(paths)
    if csv is not None:
        from primus.report.export import write_csv

        write_csv(runs, csv)
        _say(csv)
    if plot:
        import shutil

        from primus.report.terminal import plot as draw

        width = shutil.get_terminal_size().columns
        for run in runs:
            drawn = [name for name in _PLOTTED if name in run.series.columns]
            if not drawn:
                print(f"{run.summary.id}: no step was reported")
            for name in drawn:
                print(draw(f"{run.summary.id}: {name}", run.series.steps, run.series.columns[name], width=width))

"""All reports of some runs as one CSV table, not thinned: for spreadsheets and notebooks."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from primus.output import open_output
from primus.report.data import Run


def write_csv(runs: Sequence[Run], path: Path) -> None:
    """One row for each reported step of each run; empty where a report does not hold a metric."""
    names = list(dict.fromkeys(name for run in runs for name in run.series.columns))
    with open_output(path) as file:
        writer = csv.writer(file)
        writer.writerow(["run", "step", *names])
        for run in runs:
            writer.writerows(_rows(run, names))


def _rows(run: Run, names: Sequence[str]) -> Iterator[list[object]]:
    series = run.series
    odd = {name: frozenset(series.broken.get(name, ())) for name in names}
    columns = [(series.columns.get(name), odd[name]) for name in names]
    for position, step in enumerate(series.steps):
        row: list[object] = [run.summary.id, step]
        for column, broken in columns:
            value = float("nan") if column is None else column[position]
            row.append("" if value != value and position not in broken else value)
        yield row

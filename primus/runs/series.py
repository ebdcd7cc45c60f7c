"""All reports of a run, as columns: what plots and comparisons read. Made for runs of millions of steps."""

from __future__ import annotations

import json
import math
import statistics
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from primus.runs.summary import number, parsed

_BATCH = 1 << 20
"""Bytes of lines that are parsed at once: a call for each line costs as much as the parsing."""

NAN = float("nan")


@dataclass(kw_only=True, slots=True)
class Series:
    """The reports of training steps, in order, and how much could not be read."""

    steps: array[int] = field(default_factory=lambda: array("q"))

    columns: dict[str, array[float]] = field(default_factory=dict)
    """By metric, as long as `steps`; NaN where a report does not hold it."""

    broken: dict[str, array[int]] = field(default_factory=dict)
    """By metric, positions of values that were reported and are NaN or infinite."""

    damaged: int = 0
    """Lines that are no reports."""

    evaluations: list[Mapping[str, Any]] = field(default_factory=list)
    """Reports of losses on held-out data."""

    def values(self, name: str) -> Sequence[float]:
        """The finite values of a metric."""
        column = self.columns.get(name, ())
        return column if math.isfinite(sum(column)) else [value for value in column if math.isfinite(value)]

    def median(self, name: str) -> float | None:
        values = self.values(name)
        return statistics.median(values) if values else None

    def at(self, name: str, step: int) -> float | None:
        """The last finite value of a metric up to a step."""
        column = self.columns.get(name, array("d"))
        values = column[: bisect_right(self.steps, step)]
        return next((value for value in reversed(values) if math.isfinite(value)), None)


def read_series(path: Path) -> Series:
    """What a metrics.jsonl holds; a file that is not there is an empty one."""
    series = Series()
    if path.exists():
        with path.open("rb") as file:
            for batch in _batches(file):
                reports = [report for report in batch if _is_report(report) and "loss" in report]
                if len(reports) < len(batch):
                    others = [report for report in batch if _is_report(report) and "loss" not in report]
                    series.evaluations.extend(others)
                    series.damaged += len(batch) - len(reports) - len(others)
                _append(series, reports)
    if any(map(int.__gt__, series.steps, series.steps[1:])):
        _sort(series)
    return series


def _batches(file: BinaryIO) -> Iterator[list[Any]]:
    while lines := file.readlines(_BATCH):
        try:
            batch = json.loads(b"[" + b",".join(lines) + b"]")
        except ValueError:  # one of them is damaged
            batch = []
        yield batch if len(batch) == len(lines) else [parsed(line) for line in lines]


def _is_report(report: Any) -> bool:
    return isinstance(report, dict) and type(report.get("step")) is int


def _append(series: Series, reports: Sequence[Mapping[str, Any]]) -> None:
    before = len(series.steps)
    series.steps.extend([report["step"] for report in reports])
    for name in sorted(set().union(*reports) - {"step"} - set(series.columns)):
        series.columns[name] = array("d", [NAN]) * before
    for name, column in series.columns.items():
        values: list[Any] = [report.get(name) for report in reports]
        try:
            numbers: array[float] = array("d", values)
            whole = math.isfinite(sum(numbers))
        except TypeError:  # some report does not hold it, or holds it as text
            whole = False
        if not whole:
            read = [number(report, name) for report in reports]
            numbers = array("d", [NAN if value is None else value for value in read])
            odd = [before + i for i, value in enumerate(read) if value is not None and not math.isfinite(value)]
            if odd:
                series.broken.setdefault(name, array("q")).extend(odd)
        column.extend(numbers)


def _sort(series: Series) -> None:
    """By step, for a file that was put together by hand."""
    order = sorted(range(len(series.steps)), key=series.steps.__getitem__)
    place = {old: new for new, old in enumerate(order)}
    series.steps = array("q", [series.steps[old] for old in order])
    series.columns = {name: array("d", [column[old] for old in order]) for name, column in series.columns.items()}
    series.broken = {name: array("q", sorted(place[old] for old in odd)) for name, odd in series.broken.items()}

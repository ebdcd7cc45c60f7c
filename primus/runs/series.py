"""All reports of a run, as columns: what plots and comparisons read. Made for runs of millions of steps."""

from __future__ import annotations

import json
import math
import re
import statistics
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primus.runs.summary import is_step, number, parsed

_BATCH = 1 << 18
"""Bytes of lines that are parsed at once: a call for each line costs as much as the parsing."""

_IN_NUMBERS = b"0123456789.+-E"
_IN_NAMES = b'abcdefghijklmnopqrstuvwxyz_{}": '
_NAME = re.compile(r"[a-z_]+")
_ROWS = bytes.maketrans(b"\n", b",")

_SAMPLE = 100_000
"""A median is that of about so many values at most, taken evenly from all."""

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

    refused: str = ""
    """Why the file could not be read; a file that is not there is an empty one."""

    evaluations: list[Mapping[str, Any]] = field(default_factory=list)
    """Reports of losses on held-out data."""

    def values(self, name: str) -> Sequence[float]:
        """The finite values of a metric."""
        column = self.columns.get(name, ())
        return column if math.isfinite(sum(column)) else [value for value in column if math.isfinite(value)]

    def median(self, name: str) -> float | None:
        values = self.values(name)
        return statistics.median(values[:: len(values) // _SAMPLE + 1]) if values else None

    def at(self, name: str, step: int) -> float | None:
        """The last finite value of a metric up to a step."""
        column = self.columns.get(name, array("d"))
        values = column[: bisect_right(self.steps, step)]
        return next((value for value in reversed(values) if math.isfinite(value)), None)


def read_series(path: Path) -> Series:
    """What a metrics.jsonl holds, as far as it can be read."""
    series = Series()
    try:
        with path.open("rb") as file:
            while lines := file.readlines(_BATCH):
                if not _append_alike(series, lines):
                    _append_any(series, _parse(lines))
    except FileNotFoundError:
        pass
    except OSError as error:
        series.refused = error.strerror or str(error)
    if any(map(int.__gt__, series.steps, series.steps[1:])):
        _sort(series)
    return series


def _append_alike(series: Series, lines: Sequence[bytes]) -> bool:
    """The fast way, for lines that hold the same names in the same order and numbers only: all that is not a number is
    taken out at once. False, with nothing done, for others."""
    text, first = b"".join(lines), parsed(lines[0])
    names = list(first)
    if not _is_report(first) or names[0] != "step" or "loss" not in names or not all(map(_NAME.fullmatch, names)):
        return False
    if b"e-" in text or b"e+" in text:
        text = text.replace(b"e-", b"E-").replace(b"e+", b"E+")  # no name holds these
    shape = b"{%b}\n" % b", ".join(b'"%b": ' % name.encode() for name in names)
    if text.translate(None, _IN_NUMBERS) != shape * len(lines):
        return False
    try:
        numbers = json.loads(b"[%b]" % text.translate(_ROWS, _IN_NAMES).rstrip(b","))
        steps, rows = array("q", numbers[:: len(names)]), array("d", numbers)
    except (ValueError, TypeError, OverflowError):
        return False
    if len(rows) != len(lines) * len(names) or not math.isfinite(sum(rows)):
        return False
    _extend(series, steps, {name: rows[at :: len(names)] for at, name in enumerate(names) if at})
    return True


def _parse(lines: Sequence[bytes]) -> list[Any]:
    try:
        batch = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:  # one of them is damaged
        batch = []
    return batch if len(batch) == len(lines) else [parsed(line) for line in lines]


def _is_report(report: Any) -> bool:
    return isinstance(report, dict) and is_step(report.get("step"))


def _append_any(series: Series, batch: Sequence[Any]) -> None:
    """The slow way: some line is torn, or an evaluation, or lacks a metric, or has one that is not finite."""
    good = [report for report in batch if _is_report(report)]
    reports = [report for report in good if "loss" in report]
    series.evaluations.extend(report for report in good if "loss" not in report)
    series.damaged += len(batch) - len(good)
    columns = {}
    for name in dict.fromkeys(name for report in reports for name in report if name != "step"):
        read = [number(report, name) for report in reports]
        columns[name] = array("d", [NAN if value is None else value for value in read])
        odd = [at for at, value in enumerate(read, len(series.steps)) if value is not None and not math.isfinite(value)]
        if odd:
            series.broken.setdefault(name, array("q")).extend(odd)
    _extend(series, array("q", [report["step"] for report in reports]), columns)


def _extend(series: Series, steps: array[int], columns: Mapping[str, array[float]]) -> None:
    """Put rows behind the others; NaN for what they or the others do not have."""
    for name in columns:
        if name not in series.columns:
            series.columns[name] = array("d", [NAN]) * len(series.steps)
    for name, column in series.columns.items():
        column.extend(columns[name] if name in columns else array("d", [NAN]) * len(steps))
    series.steps.extend(steps)


def _sort(series: Series) -> None:
    """By step, for a file that was put together by hand."""
    order = sorted(range(len(series.steps)), key=series.steps.__getitem__)
    place = {old: new for new, old in enumerate(order)}
    series.steps = array("q", [series.steps[old] for old in order])
    series.columns = {name: array("d", [column[old] for old in order]) for name, column in series.columns.items()}
    series.broken = {name: array("q", sorted(place[old] for old in odd)) for name, odd in series.broken.items()}

"""All reports of a run, as columns: what plots and comparisons read."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.runs.summary import number, parsed


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """The reports of training steps, in order, and how much could not be read."""

    columns: Mapping[str, list[float | None]]
    """By metric, as long as `steps`; None where a report does not hold it."""

    steps: list[int]
    damaged: int
    """Lines that are no reports."""

    evaluations: list[Mapping[str, Any]]
    """Reports of losses on held-out data."""

    def values(self, name: str) -> list[float]:
        """The finite values of a metric."""
        return [value for value in self.columns.get(name, ()) if value is not None and abs(value) < float("inf")]

    def median(self, name: str) -> float | None:
        values = self.values(name)
        return statistics.median(values) if values else None

    def at(self, name: str, step: int) -> float | None:
        """The metric of the last report up to a step."""
        best = None
        for each, value in zip(self.steps, self.columns.get(name, ()), strict=False):
            if each > step:
                break
            best = value if value is not None else best
        return best


def read_series(path: Path) -> Series:
    """What a metrics.jsonl holds; a file that is not there is an empty one."""
    reports: list[Mapping[str, Any]] = []
    evaluations: list[Mapping[str, Any]] = []
    damaged = 0
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                report = parsed(line)
                if "step" not in report:
                    damaged += 1
                elif "loss" in report:
                    reports.append(report)
                else:
                    evaluations.append(report)
    names = dict.fromkeys(name for report in reports for name in report if name != "step")
    return Series(
        columns={name: [number(report, name) for report in reports] for name in names},
        steps=[int(report["step"]) for report in reports],
        damaged=damaged,
        evaluations=evaluations,
    )

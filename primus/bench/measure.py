"""What became of one training of the grid: rate and spread from its metrics, or why there are none."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from primus.bench.grid import Point
from primus.run import RunDirectory
from primus.runs.series import read_series

State = Literal["measured", "out of memory", "refused", "failed"]
"""`refused` is a combination that the experiment's checks do not let through."""

OUT_OF_MEMORY = frozenset(
    {"gpu-out-of-memory", "gpu-out-of-memory-elsewhere", "host-out-of-memory", "host-allocation-refused"}
)
"""Causes of launch/causes.toml."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One point of the grid."""

    point: Point
    state: State
    reason: str = ""
    """Why it was not measured."""

    tokens_per_second: float | None = None
    """The median over the measured steps."""

    spread: float | None = None
    """Half of the distance between the quartiles, as a part of the median."""

    step_time: float | None = None
    """Seconds, median."""

    memory_gib: float | None = None
    steps: int = 0
    """Steps that were measured."""

    run: str | None = None
    """The run directory."""

    def as_json(self) -> dict[str, Any]:
        values = dict(text.split("=", 1) for text in self.point)
        return {**asdict(self), "point": values}


def judge(point: Point, path: Path, exit_status: int, *, warm_up: int) -> Result:
    """What the run directory of a training says."""
    run_dir = RunDirectory(path)
    if exit_status:
        status = run_dir.read_status()
        diagnosis = (status.diagnosis if status else None) or {}
        reason = str(diagnosis.get("cause") or (status and status.cause) or f"exit status {exit_status}")
        state: State = "out of memory" if diagnosis.get("name") in OUT_OF_MEMORY else "failed"
        return Result(point=point, state=state, reason=reason, run=str(path))
    series = read_series(run_dir.metrics)
    chosen = [at for at, step in enumerate(series.steps) if step > warm_up]
    rates = [series.columns["tokens_per_second"][at] for at in chosen]
    times = [series.columns["step_time"][at] for at in chosen]
    median = statistics.median(rates)
    memory = series.values("memory_gib")
    return Result(
        point=point,
        state="measured",
        tokens_per_second=median,
        spread=_spread(rates) / median,
        step_time=statistics.median(times),
        memory_gib=max(memory) if memory else None,
        steps=len(rates),
        run=str(path),
    )


def best(results: list[Result]) -> Result | None:
    """The fastest one that was measured."""
    measured = [each for each in results if each.tokens_per_second is not None]
    return max(measured, key=lambda each: each.tokens_per_second or 0.0, default=None)


def _spread(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return (upper - lower) / 2

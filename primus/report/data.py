"""All that the page shows of some runs, as plain data: page.py puts it into the page."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from primus import __version__
from primus.metrics.names import METRICS
from primus.report import facts
from primus.report.events import attempts_of, events_of, slow_ranks
from primus.report.gain import tuning_of
from primus.report.thin import Thinned, rounded, thin
from primus.run import FINAL_STATES, utc_now
from primus.runs.compare import compare
from primus.runs.files import read_experiment, read_json
from primus.runs.series import Series, read_series
from primus.runs.summary import RunSummary, summarize

TITLES = {
    "loss": "Loss",
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "tokens_per_second": "Throughput",
    "mfu": "MFU",
    "tflops_per_gpu": "Model FLOPs",
    "memory_gib": "Memory",
    "step_time": "Step time",
    "data_time": "Waiting for data",
    "moe_imbalance": "Balance of experts",
}
"""Charts in this order; further metrics follow under their own names."""

_LEFT_OUT = frozenset({"time", "attempt", "tokens_per_second_per_gpu", "tokens_per_second_average"})

_EVALUATIONS = ("valid_loss", "test_loss")

_BUCKETS = 1000
"""Stretches of a curve when there is one run; a chart is about as many pixels wide."""

_LEAST_BUCKETS = 100

_BARS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run with its reports."""

    summary: RunSummary
    series: Series


def read_runs(paths: Sequence[Path]) -> list[Run]:
    return [Run(summary=summarize(path), series=read_series(path / "metrics.jsonl")) for path in paths]


def is_over(runs: Sequence[Run]) -> bool:
    """Whether all have ended, as far as can be told."""
    return all(run.summary.state in (*FINAL_STATES, "lost", "unreadable") for run in runs)


def page_data(runs: Sequence[Run], *, reload: float | None = None) -> dict[str, Any]:
    """`reload` is after how many seconds the page reads itself again, while runs go on."""
    paths = [run.summary.path for run in runs]
    compared = (
        compare(paths, [], [run.series for run in runs]) if len(runs) > 1 else []
    )  # each run's part has its notes
    return {
        "title": ", ".join(dict.fromkeys(run.summary.experiment for run in runs)),
        "made": utc_now(),
        "primus": __version__,
        "reload": reload,
        "runs": [_run(run) for run in runs],
        "charts": _charts(runs),
        "distribution": _distribution(runs),
        "differences": [[each.part, each.name, *each.values] for each in compared],
    }


def _run(run: Run) -> dict[str, Any]:
    summary, series, notes = run.summary, run.series, list[str]()
    status = read_json(summary.path / "status.json", notes)
    manifest = read_json(summary.path / "manifest.json", notes)
    facts.notes_of_version(summary, status, manifest, notes)
    module = facts.module_of(read_experiment(summary.path / "experiment.yaml", notes))
    model = _model(summary.path / "model.json")
    if series.refused:
        notes.append(f"metrics.jsonl can't be read: {series.refused}")
    if series.damaged:
        notes.append(
            f"{series.damaged:,} line{'s' * (series.damaged != 1)} of metrics.jsonl could not be read, "
            "as when a run is killed while writing"
        )
    if not series.steps:
        notes.append("no step was reported")
    attempts = attempts_of(status, summary.state)
    events = events_of(summary.path, attempts, series)
    return {
        "id": summary.id,
        "experiment": summary.experiment,
        "state": summary.state,
        "attempt": summary.attempt,
        "total": manifest.get("total_steps"),
        "summary": _summary(series),
        "facts": facts.facts_of(summary, manifest, model, module),
        "versions": facts.versions_of(manifest),
        "preset": facts.preset_differences(summary.path, module, notes),
        "failure": facts.failure_of(summary, status),
        "attempts": attempts,
        "restarts": _restarts(series),
        "events": events,
        "slow": slow_ranks(events),
        "tuning": tuning_of(manifest, notes),
        "notes": notes,
    }


def _model(path: Path) -> Mapping[str, Any]:
    """model.json, which a run that failed early does not have."""
    return read_json(path, []) if path.exists() else {}


def _restarts(series: Series) -> list[int]:
    """The first reported step of each later attempt."""
    attempts = series.columns.get("attempt")
    if attempts is None:
        return []
    numbers = [1.0 if math.isnan(attempt) else attempt for attempt in attempts]
    return [series.steps[at] for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1]]


def _summary(series: Series) -> dict[str, float | int | None]:
    memory, loss = series.values("memory_gib"), series.values("loss")
    return {
        "step": series.steps[-1] if series.steps else None,
        "loss": loss[-1] if loss else None,
        "lowest": min(loss, default=None),
        "tokens_per_second": series.median("tokens_per_second"),
        "step_time": series.median("step_time"),
        "mfu": series.median("mfu"),
        "tflops_per_gpu": series.median("tflops_per_gpu"),
        "memory_gib": max(memory, default=None),
    }


def _charts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    buckets = max(_LEAST_BUCKETS, _BUCKETS // len(runs))
    known = dict.fromkeys(name for run in runs for name in run.series.columns)
    names = [name for name in TITLES if name in known]
    names += [name for name in known if name not in TITLES and name not in _LEFT_OUT]
    charts = []
    for name in names:
        series = []
        for index, run in enumerate(runs):
            column = run.series.columns.get(name)
            if column is not None:
                points = thin(run.series.steps, column, run.series.broken.get(name, ()), buckets)
                series.append({"run": index, **asdict(points)})
        if any(each["x"] for each in series):
            charts.append({**_heading(name), "series": series})
    return charts[:1] + _evaluations(runs) + charts[1:]


def _evaluations(runs: Sequence[Run]) -> list[dict[str, Any]]:
    charts = []
    for name in _EVALUATIONS:
        series = []
        for index, run in enumerate(runs):
            own = [each for each in run.series.evaluations if isinstance(each.get(name), (int, float))]
            if own:
                points = Thinned(x=[each["step"] for each in own], y=[rounded(float(each[name])) for each in own])
                series.append({"run": index, **asdict(points)})
        if series:
            charts.append({**_heading(name), "series": series})
    return charts


def _heading(name: str) -> dict[str, str]:
    metric = METRICS.get(name)
    title = TITLES.get(name, name.replace("_", " ").capitalize())
    return {
        "name": name,
        "title": title,
        "unit": metric.unit if metric else "",
        "meaning": metric.meaning if metric else "",
    }


def _distribution(runs: Sequence[Run]) -> dict[str, Any] | None:
    """How many steps took how long, in the same bars for all runs; the last bar takes all that is beyond."""
    times = [sorted(run.series.values("step_time")) for run in runs]
    if not any(times):
        return None
    low = min(each[0] for each in times if each)
    high = max(_quantile(each, 0.99) for each in times if each)
    width = (high - low) / _BARS or max(abs(low), 1e-9) / _BARS
    rows = []
    for index, each in enumerate(times):
        if each:
            edges = [bisect_left(each, low + bar * width) for bar in range(1, _BARS + 1)]
            counts = [after - before for before, after in zip([0, *edges], [*edges, len(each)], strict=True)]
            marks = {name: _quantile(each, part) for name, part in (("median", 0.5), ("p95", 0.95), ("p99", 0.99))}
            rows.append({"run": index, "counts": counts, **marks, "most": each[-1]})
    return {"low": low, "width": width, "series": rows}


def _quantile(values: Sequence[float], part: float) -> float:
    return values[min(len(values) - 1, math.floor(part * len(values)))]


def plain_json(data: object) -> str:
    """JSON without the numbers that JSON does not know."""
    return json.dumps(_plain(data), allow_nan=False, separators=(",", ":"))


def _plain(data: Any) -> Any:
    if isinstance(data, float) and not math.isfinite(data):
        return str(data)
    if isinstance(data, Mapping):
        return {str(name): _plain(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    return data

"""What differs between runs: their experiments, the machines and versions that they ran with, and how they went. Pure
but for reading them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.runs.files import read_experiment, read_json
from primus.runs.series import Series, read_series

_SKIPPED = ("command", "environment", "started", "pid")
"""Parts of a manifest that differ between any two runs, and say little."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that is not the same in all runs."""

    part: str
    """`experiment`, `manifest` or `result`."""

    name: str
    values: tuple[str, ...]
    """One for each run; empty where a run has none."""


def compare(runs: Sequence[Path], notes: list[str], series: Sequence[Series] | None = None) -> list[Difference]:
    """All differences between these runs, then their results side by side. `series` are theirs, where they have
    been read already; `notes` get what could not be read."""
    experiments, manifests = [], []
    for run in runs:
        missing: list[str] = []
        experiments.append(flat(read_experiment(run / "experiment.yaml", missing)))
        manifest = flat(read_json(run / "manifest.json", missing))
        manifests.append({name: value for name, value in manifest.items() if not _is_skipped(name)})
        notes += [f"{run}: {note}" for note in missing]
    differences = [*_differences("experiment", experiments), *_differences("manifest", manifests)]
    return differences + list(_results(series or [read_series(run / "metrics.jsonl") for run in runs]))


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested data by dotted names."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}.{name}" if prefix else str(name))
    return leaves


def _differences(part: str, values: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    for name in dict.fromkeys(name for each in values for name in each):
        found = [each.get(name) for each in values]
        if any(value != found[0] for value in found):
            yield Difference(part=part, name=name, values=tuple(_text(value) for value in found))


def _results(series: Sequence[Series]) -> Iterator[Difference]:
    """How the runs went: at the last step that all have reached, then speed and memory."""
    last = [each.steps[-1] if each.steps else 0 for each in series]
    yield Difference(part="result", name="steps", values=tuple(f"{step:,}" for step in last))
    common = min(last)
    if common:
        rows = {f"loss at step {common:,}": [each.at("loss", common) for each in series]}
        rows["lowest loss"] = [min(each.values("loss"), default=None) for each in series]
        for name in ("step_time", "tokens_per_second", "tflops_per_gpu", "mfu"):
            rows[f"{name} (median)"] = [each.median(name) for each in series]
        rows["memory_gib (most)"] = [max(each.values("memory_gib"), default=None) for each in series]
        for name, values in rows.items():
            if any(value is not None for value in values):
                texts = tuple("" if value is None else f"{value:.5g}" for value in values)
                yield Difference(part="result", name=name, values=texts)


def _is_skipped(name: str) -> bool:
    return name.partition(".")[0] in _SKIPPED


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)

"""What stage 2 says at its end, from its report: the outcome with its messages and exit status. tuner.py calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from primus.errors import ExitStatus
from primus.tuning.tune.folder import Folder
from primus.tuning.tune.request import Outcome
from primus.tuning.tune.stopping import Asked

_MOST_NAMED = 10
"""Shapes of each kind that are named; all are in the report."""

_ALL = 0.9995
"""The share that is shown as 100.0 %."""

WORDS = {
    "kept": "faster",
    "same": "as before",
    "shared": "not told apart from heavier ones",
    "failed": "failed",
    "skipped": "not tunable",
    "left": "left",
}
"""States of shapes for people, in the order in which they are told."""


def outcome_of(
    folder: Folder, report: Mapping[str, Any] | None, messages: Sequence[str], asked: Asked, *, left: int
) -> Outcome:
    """`report` is None when nothing was begun."""
    counts: Mapping[str, int] = report["counts"] if report else {}
    failed = counts.get("failed", 0)
    status = 128 + asked.signal if asked.signal else int(ExitStatus.PARTIAL if failed or left else ExitStatus.DONE)
    said = [*messages, *(_summary(report, folder) if report else [])]
    if asked.signal and report:
        said.append(f"Stopped by {asked.signal.name}. What is tuned is kept; start again to go on.")
    return Outcome(
        results=folder.results,
        report=folder.report,
        kept=counts.get("kept", 0),
        same=counts.get("same", 0) + counts.get("shared", 0),
        failed=failed,
        left=left,
        status=status,
        messages=tuple(said),
        details=dict(report or {}),
    )


def headline(report: Mapping[str, Any]) -> str:
    """`40 shapes: 20 faster, 17 as before, 3 failed`."""
    counts = report["counts"]
    parts = [f"{counts[state]} {word}" for state, word in WORDS.items() if counts.get(state)]
    return f"{sum(counts.values())} shapes: {', '.join(parts)}"


def gain_line(report: Mapping[str, Any]) -> str:
    """What all of them together should bring, as far as it was measured."""
    total = report["total"]
    if not total["default_us"]:
        return "No shape was measured."
    measured = (
        "" if total["measured_flops"] > _ALL else f", measured for {total['measured_flops']:.1%} of the operations"
    )
    return f"Expected: {total['saved']:.1%} less time in GEMMs ({total['gain']:+.1%}), by calls{measured}"


def _summary(report: Mapping[str, Any], folder: Folder) -> list[str]:
    named = [
        f"  {WORDS[state]}: {shape['gemm']}: {shape['reason']}"
        for state in ("failed", "skipped")
        for shape in [each for each in report["shapes"] if each["state"] == state][:_MOST_NAMED]
    ]
    lines = [headline(report), *named, gain_line(report), *(f"Note: {note}" for note in report["notes"])]
    if report["counts"].get("kept"):
        lines.append(f"Tuning file: {folder.results}")
    return [*lines, f"Report: primus tune report {folder.report}"]

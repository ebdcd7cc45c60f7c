"""What `--vary` asks for: every combination of the values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from primus.errors import UsageError

LARGEST = 256
"""Combinations at most: beyond, somebody has mistyped."""

Point = tuple[str, ...]
"""One combination, as `--set` takes it."""


def parse_grid(vary: Sequence[str]) -> list[Point]:
    """Every combination, the last key changing fastest; UsageError with the reason when there is none."""
    axes: dict[str, list[str]] = {}
    for text in vary:
        key, equals, values = text.partition("=")
        found = list(dict.fromkeys(value.strip() for value in _split(values)))
        if not key or not equals or not all(found):
            raise UsageError(f"--vary {text}: expected KEY=VALUE,VALUE,…")
        if key in axes:
            raise UsageError(f"--vary {text}: {key} is varied twice; give all of its values at once")
        axes[key] = found
    if not axes:
        raise UsageError("--vary KEY=VALUE,VALUE,… is missing: what shall differ?")
    points = [tuple(f"{key}={value}" for key, value in zip(axes, one, strict=True)) for one in product(*axes.values())]
    if len(points) > LARGEST:
        raise UsageError(f"--vary asks for {len(points)} trainings; {LARGEST} are the most")
    return points


def _split(values: str) -> list[str]:
    """At the commas outside of brackets, which belong to a list."""
    parts, depth = [""], 0
    for character in values:
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts

"""Fewer points of a long series that look the same: the lowest and the highest of each stretch stay, so no
spike is lost."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Thinned:
    """Points of a chart."""

    x: list[int] = field(default_factory=list)
    y: list[float | str] = field(default_factory=list)
    """Six digits; `NaN`, `Infinity` and `-Infinity` as text, since JSON has no such numbers."""

    middle: list[int] = field(default_factory=list)
    mean: list[float | str] = field(default_factory=list)
    """Of stretches with many values, whose lowest and highest fill the chart when they are noisy."""


def thin(steps: Sequence[int], values: array[float], broken: Sequence[int], buckets: int) -> Thinned:
    """At most three points for each of so many stretches of a metric: lowest, highest, and the first of the values that
    are reported but no numbers (`broken`, positions in order). The first and the last point always stay."""
    points = Thinned()
    count = len(values)
    stretches = min(buckets, count)
    for number in range(stretches):
        begin, end = count * number // stretches, count * (number + 1) // stretches
        chunk = values[begin:end]
        total = sum(chunk)
        numbers = chunk if math.isfinite(total) else array("d", filter(math.isfinite, chunk))
        keep = {begin + chunk.index(pick(numbers)) for pick in (min, max)} if numbers else set()
        if numbers and count > 2 * stretches:
            points.middle.append(steps[(begin + end - 1) // 2])
            points.mean.append(rounded((total if numbers is chunk else sum(numbers)) / len(numbers)))
        odd = bisect_left(broken, begin)
        if odd < len(broken) and broken[odd] < end:
            keep.add(broken[odd])
        keep |= {position for position in (0, count - 1) if begin <= position < end and math.isfinite(values[position])}
        for position in sorted(keep):
            points.x.append(steps[position])
            points.y.append(rounded(values[position]))
    return points


def rounded(value: float) -> float | str:
    """Six digits of a number; text for what is none."""
    if math.isfinite(value):
        return float(f"{value:.6g}")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

"""Which of some values stand out, by their median and spread: no fixed limit says what is slow. Pure; compare.py asks
it."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

DEVIATIONS = 4.0
"""So many standard deviations from the median are far, estimated from the median distance (MAD)."""

SHARE = 0.05
"""Less than this part of the median is never far: devices that are alike differ by as much."""

FEWEST = 4
"""With fewer values nobody can tell which one is odd; they are only said to differ."""

_SIGMA = 1.4826
"""Standard deviations per median distance, for what is distributed normally."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Median and median distance of some values."""

    median: float
    mad: float
    count: int

    @property
    def far(self) -> float:
        """A value that is farther from the median stands out."""
        return max(DEVIATIONS * _SIGMA * self.mad, SHARE * abs(self.median))


def spread_of(values: Mapping[Key, float]) -> Spread:
    """Median and spread; there is at least one value."""
    middle = statistics.median(values.values())
    mad = statistics.median(abs(value - middle) for value in values.values())
    return Spread(median=middle, mad=mad, count=len(values))


def low(values: Mapping[Key, float]) -> dict[Key, float]:
    """The values that stand out below the others; none when there are too few to tell."""
    if len(values) < FEWEST:
        return {}
    spread = spread_of(values)
    return {key: value for key, value in values.items() if spread.median - value > spread.far}


def high(values: Mapping[Key, float]) -> dict[Key, float]:
    """The values that stand out above the others."""
    return {key: -value for key, value in low({key: -value for key, value in values.items()}).items()}


def differ(values: Mapping[Key, tuple[float, float]]) -> tuple[Key, Key] | None:
    """Lowest and highest of a few values, each with the spread of its own repetitions, when they are farther apart than
    these explain; None when not, and for many values, of which low() tells more."""
    if not 2 <= len(values) < FEWEST:
        return None
    least, most = (pick(values, key=lambda key: values[key][0]) for pick in (min, max))
    noise = DEVIATIONS * _SIGMA * (values[least][1] + values[most][1])
    apart = values[most][0] - values[least][0]
    return (least, most) if apart > max(noise, 2 * SHARE * values[most][0]) else None

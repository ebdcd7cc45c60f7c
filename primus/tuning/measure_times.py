"""What repeated measurements say: the middle, the noise, and whether one kernel is faster than another. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution whose median absolute deviation is 1."""

CONFIDENCE = 3.0
"""Standard errors that a gain must be above nothing."""

LEAST_GAIN = 0.005
"""Below half a percent nothing is gained that a training run could show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Of one kernel, in microseconds per launch, one per round."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Standard deviation, by a measure that a few interrupted rounds do not move."""
        middle = self.median
        return MAD_TO_SIGMA * statistics.median(abs(sample - middle) for sample in self.samples)

    def to_json(self) -> dict[str, Any]:
        return {"samples": list(self.samples), "median": self.median, "spread": self.spread}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A candidate against the default, measured in turns: round by round, so that a clock that drifts hits both."""

    default: Times
    tuned: Times

    def __post_init__(self) -> None:
        if len(self.default.samples) != len(self.tuned.samples) or not self.default.samples:
            raise ValueError("as many rounds of the one as of the other, and at least one")

    @property
    def ratios(self) -> Sequence[float]:
        return [before / after for before, after in zip(self.default.samples, self.tuned.samples, strict=True)]

    @property
    def gain(self) -> float:
        """0.25 when the default takes 1.25 times as long."""
        return statistics.median(self.ratios) - 1

    @property
    def noise(self) -> float:
        """Standard error of the gain."""
        ratios = self.ratios
        middle = statistics.median(ratios)
        sigma = MAD_TO_SIGMA * statistics.median(abs(ratio - middle) for ratio in ratios)
        return float(sigma / len(ratios) ** 0.5)

    @property
    def is_faster(self) -> bool:
        """Whether the candidate wins by more than the noise."""
        return self.gain > max(LEAST_GAIN, CONFIDENCE * self.noise)

"""Warnings while a run goes on: a loss that jumps up, a process that holds the others up. Without torch.

The loop calls Watch.look() on the recording rank at every report and prints what comes back.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WINDOW = 64
"""Reported losses that a new one is compared with."""

ENOUGH = 16
"""No verdict on a loss before so many were reported."""

SPIKE = 10.0
"""A spike is above the window's median by this many of its median absolute deviations (about 7 standard deviations)."""

NOISE = 0.005
"""Deviations below this part of the median count as this, so that a flat loss does not make a spike of every ripple."""

SLOW = 1.2
"""A slow rank takes this many times the median of all ranks ..."""

COST = 0.05
"""... and by that makes a step longer by at least this part."""

PATIENCE = 3
"""Reports in a row for which a rank must be slow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Straggler:
    """A rank that is slower than the others."""

    rank: int
    seconds: float
    """What it takes for its own part of a step."""

    median: float
    """What half of the ranks do not exceed."""


def find_stragglers(times: Sequence[float], step_time: float) -> list[Straggler]:
    """The slow ranks out of the seconds that each rank, in order, takes for its own part of a step."""
    middle = median(times)
    return [
        Straggler(rank=rank, seconds=seconds, median=middle)
        for rank, seconds in enumerate(times)
        if seconds > SLOW * middle and seconds - middle > COST * step_time
    ]


class SpikeDetector:
    """Compares each loss with those before it."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._spiking = False

    def is_new_spike(self, loss: float) -> bool:
        """Whether this loss is the first of a spike. Losses that are not finite are somebody else's business."""
        if not math.isfinite(loss):
            return False
        before, self._spiking = self._spiking, self._is_high(loss)
        self._losses.append(loss)
        return self._spiking and not before

    @property
    def usual(self) -> float:
        """Median of the losses that the last one was compared with, and of that one."""
        return median(self._losses)

    def _is_high(self, loss: float) -> bool:
        if len(self._losses) < ENOUGH:
            return False
        middle = median(self._losses)
        deviation = median(abs(other - middle) for other in self._losses)
        return loss > middle + SPIKE * max(deviation, NOISE * abs(middle))


class Watch:
    """Looks at the reports of one run and says what is wrong, once for each time that it goes wrong."""

    def __init__(self) -> None:
        self._spikes = SpikeDetector()
        self._slow: dict[int, int] = {}
        """How many reports in a row a rank has been slow."""

    def look(self, step: int, loss: float, times: Sequence[float], step_time: float) -> list[str]:
        """Warnings about this report; `times` as in find_stragglers."""
        warnings = [self._about(straggler, step) for straggler in self._newly_slow(times, step_time)]
        if self._spikes.is_new_spike(loss):
            warnings.append(f"step {step}: the loss jumped to {loss:.4g}, from about {self._spikes.usual:.4g}")
        return warnings

    def _newly_slow(self, times: Sequence[float], step_time: float) -> list[Straggler]:
        slow = find_stragglers(times, step_time)
        self._slow = {straggler.rank: self._slow.get(straggler.rank, 0) + 1 for straggler in slow}
        return [straggler for straggler in slow if self._slow[straggler.rank] == PATIENCE]

    def _about(self, straggler: Straggler, step: int) -> str:
        return (
            f"step {step}: rank {straggler.rank} is slow and holds the others up: its own part of a step takes "
            f"{straggler.seconds:.3f} s, the median of all ranks is {straggler.median:.3f} s"
        )

"""The problems that wait for a GPU, in order; those that failed in a way that may pass come again, last of all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from primus.tuning.gemm import Gemm

FLOPS_PER_US = 500e6
BYTES_PER_US = 3e6
"""Of a GPU of these days, about: they only order problems, and weigh what is left."""

OVERHEAD_US = 30.0
"""Below this a problem takes as long to tune as any other."""


class Queue:
    """Thread-safe. Every problem that was taken must be given back by done() or put_back()."""

    def __init__(self, gemms: Iterable[Gemm]) -> None:
        self._waiting = deque(gemms)
        self._running = 0
        self._changed = threading.Condition()
        self._closed = False

    def take(self) -> Gemm | None:
        """The next problem; waits while one that is running may come back. None when nothing is left to do."""
        with self._changed:
            while not self._waiting and self._running and not self._closed:
                self._changed.wait()
            if not self._waiting or self._closed:
                return None
            self._running += 1
            return self._waiting.popleft()

    def done(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def put_back(self, gemm: Gemm) -> None:
        """Try it once more when all others have had their turn."""
        with self._changed:
            self._waiting.append(gemm)
            self._running -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Give out no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def left(self) -> list[Gemm]:
        with self._changed:
            return list(self._waiting)


def expected_us(gemm: Gemm) -> float:
    """Microseconds of one launch, roughly: by operations or by memory, whichever takes longer."""
    return max(gemm.flops / FLOPS_PER_US, gemm.bytes / BYTES_PER_US)


def cost(gemm: Gemm) -> float:
    """What tuning it takes, in any unit: a launch is repeated so often that short ones take the same time."""
    return max(expected_us(gemm), OVERHEAD_US)

"""Speed of a training run, averaged from one report to the next. Each process' loop holds one; without torch.

meter = Meter(tokens_per_step=..., devices=world_size, flops_per_token=..., peak=...)
batches = meter.timed(batches)
... train ...; meter.step_done()            # every step
with meter.pause(): ...                     # evaluation, saving
metrics = meter.report()                    # at logged steps
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Clock = Callable[[], float]


class Meter:
    """Counts steps and the time that they take."""

    def __init__(
        self,
        *,
        tokens_per_step: int,
        devices: int,
        flops_per_token: int | None = None,
        peak: float | None = None,
        skip: int = 0,
        reset: int | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        """`tokens_per_step` are those of all devices together; `peak` is one device's FLOP/s at best, for MFU.
        The long average leaves out the first `skip` steps and starts again every `reset` steps."""
        self._tokens = tokens_per_step
        self._devices = devices
        self._flops = flops_per_token
        self._peak = peak
        self._skip = skip
        self._reset = reset
        self._clock = clock
        self._seen = 0
        self._lap = _Lap(clock)
        self._average = _Lap(clock)

    def step_done(self) -> None:
        """One step is over."""
        self._seen += 1
        self._lap.steps += 1
        self._average.steps += 1
        if self._seen == self._skip or (self._reset and (self._seen - self._skip) % self._reset == 0):
            self._average = _Lap(self._clock)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time in here does not count as training: evaluation, saving a checkpoint."""
        began = self._clock()
        try:
            yield
        finally:
            gone = self._clock() - began
            self._lap.start += gone
            self._average.start += gone

    def timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches; the time spent waiting for each counts as data time."""
        return _Timed(batches, self.add_data_time, self._clock)

    def add_data_time(self, seconds: float) -> None:
        """Say that training has waited so long for data."""
        self._lap.data += seconds

    def report(self) -> dict[str, float]:
        """Metrics since the last report (see names.py); starts the next interval."""
        lap, self._lap = self._lap, _Lap(self._clock)
        step_time = lap.per_step()
        rate = self._tokens / step_time
        metrics = {
            "step_time": step_time,
            "data_time": lap.data / max(1, lap.steps),
            "tokens_per_second": rate,
            "tokens_per_second_per_gpu": rate / self._devices,
        }
        if self._average.steps and self._seen > self._skip:
            metrics["tokens_per_second_average"] = self._tokens / self._average.per_step()
        if self._flops is not None:
            metrics["tflops_per_gpu"] = rate * self._flops / self._devices / 1e12
            if self._peak is not None:
                metrics["mfu"] = rate * self._flops / self._devices / self._peak
        return metrics


class _Lap:
    """The steps and seconds of one interval."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.start = clock()
        self.steps = 0
        self.data = 0.0

    def per_step(self) -> float:
        return (self._clock() - self.start) / max(1, self.steps)


class _Timed:
    """An iterator that says how long each item took."""

    def __init__(self, items: Iterator[Any], say: Callable[[float], None], clock: Clock) -> None:
        self._items = items
        self._say = say
        self._clock = clock

    def __iter__(self) -> _Timed:
        return self

    def __next__(self) -> Any:
        began = self._clock()
        try:
            return next(self._items)
        finally:
            self._say(self._clock() - began)

"""All that a training loop measures, put together: speed, memory, stragglers, loss spikes. Both backends hold one in
every process.

    monitor = Monitor(tokens_per_step=..., devices=world_size, flops_per_token=..., precision="bf16", ...)
    monitor.step_begins(); ...forward and backward...; monitor.waits_from_here(); ...reduce...; monitor.step_done()
    with monitor.pause(): ...                      # evaluation, saving
    metrics = monitor.report(step, loss)           # in all processes, at the same steps
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from primus.metrics.accelerators import Precision
from primus.metrics.device import Stopwatch, accelerator_here, gather, memory_gib
from primus.metrics.meter import Meter
from primus.metrics.watch import Watch


class Monitor:
    """Measures one process, and at reports all of them."""

    def __init__(
        self,
        *,
        tokens_per_step: int,
        devices: int,
        flops_per_token: int | None,
        precision: Precision,
        device: torch.device,
        reports: bool,
        skip: int = 0,
        reset: int | None = None,
    ) -> None:
        """`reports` is true in the one process that records; the rest is as in Meter."""
        self._device = device
        self._reports = reports
        self._meter = Meter(
            tokens_per_step=tokens_per_step,
            devices=devices,
            flops_per_token=flops_per_token,
            peak=self._peak(precision),
            skip=skip,
            reset=reset,
        )
        self._own = Stopwatch(device)
        self._watch = Watch()

    def timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches, with the time spent waiting for each counted."""
        return self._meter.timed(batches)

    def add_data_time(self, seconds: float) -> None:
        """Say that training has waited so long for data, where timed() does not fit."""
        self._meter.add_data_time(seconds)

    def step_begins(self) -> None:
        """From here on the process does work of its own. Without this, a rank is as slow as it waits for data."""
        self._own.start()

    def waits_from_here(self) -> None:
        """What follows in this step waits for the slowest process."""
        self._own.stop()

    def step_done(self, count: int = 1) -> None:
        """A step is over, or several since the last call."""
        for _ in range(count):
            self._meter.step_done()

    def pause(self) -> AbstractContextManager[None]:
        """Time in here is no time of a step."""
        return self._meter.pause()

    def report(self, step: int, loss: float | None) -> dict[str, float]:
        """Metrics since the last report; where `loss` is known and this process reports, warnings are printed."""
        own = self._own.report()
        metrics = self._meter.report()
        rows = gather([own or metrics["data_time"], memory_gib()], self._device)
        metrics["memory_gib"] = max(memory for _, memory in rows)
        if self._reports and loss is not None:
            for warning in self._watch.look(step, loss, [seconds for seconds, _ in rows], metrics["step_time"]):
                print(f"Warning: {warning}", flush=True)
        return metrics

    def _peak(self, precision: Precision) -> float | None:
        """One device's FLOP/s at best; says so when that is not known."""
        if self._device.type != "cuda":
            return None
        accelerator = accelerator_here()
        peak = None if accelerator is None else accelerator.peak(precision)
        if peak is None and self._reports:
            name = torch.cuda.get_device_name(self._device)
            print(f"No MFU in the reports: the peak of {name} in {precision} is not in Primus' table of accelerators.")
        return peak

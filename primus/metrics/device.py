"""What a training process asks of its device through torch: which accelerator it is, memory, time of its own work, and
the same of all other processes. The loops call it; the rest of primus.metrics works without torch.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from primus.metrics.accelerators import Accelerator, device_of, find


def accelerator_here() -> Accelerator | None:
    """The accelerator that this process uses; None without one, and for one that is not in the table."""
    if not torch.cuda.is_available():
        return None
    return find(device_of(torch.cuda.get_device_properties(torch.cuda.current_device())))


def memory_gib() -> float:
    """The most memory that this process has held so far: of its GPU, or resident when it has none."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_reserved()) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def gather(values: Sequence[float], device: torch.device) -> list[list[float]]:
    """The values of every rank, in order; all processes must call it."""
    own = torch.tensor(list(values), dtype=torch.float64, device=device)
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [own.tolist()]
    everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, own)
    rows: list[list[float]] = torch.stack(everyone).tolist()
    return rows


class Stopwatch:
    """Seconds of a process' own work within the steps: on a GPU those of its queue, not of the Python that fills it."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        self._laps: list[tuple[Any, Any]] = []
        self._start: Any = None

    def start(self) -> None:
        """A step begins."""
        self._start = self._now()

    def stop(self) -> None:
        """From here on the process waits for others. Without a start() before it, nothing is counted."""
        if self._start is not None:
            self._laps.append((self._start, self._now()))
            self._start = None

    def report(self) -> float:
        """Average seconds of the laps since the last report; 0 when there were none. Waits for the GPU."""
        laps, self._laps = self._laps, []
        if self._gpu and laps:
            laps[-1][1].synchronize()
        seconds = [float(begin.elapsed_time(end) / 1000 if self._gpu else end - begin) for begin, end in laps]
        return sum(seconds) / max(1, len(seconds))

    def _now(self) -> Any:
        if not self._gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

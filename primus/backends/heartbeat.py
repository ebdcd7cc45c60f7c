"""How far a worker has come, in one small file per rank that its launcher watches (launch/stall.py). The worker only
sets a variable at each step; a thread writes the file, so that a full or a slow disk never holds training up."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["starting", "training", "evaluating", "saving", "ending"]
"""`starting` lasts until two steps are done: kernels are compiled in the first ones."""

INTERVAL = 1.0
"""Seconds between two writes, at least."""

_RANKS_PER_SECOND = 256
"""Beyond so many ranks each writes less often: they may all share one file server."""

_STEPS = 64
"""Steps that the median is taken of."""

_WIDTH = 256
"""Bytes of the file: it is written over in place, which needs no more space on a full disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """What the file says."""

    rank: int
    pid: int
    step: int | None = None
    """The last step that is done; None before training begins."""

    phase: Phase = "starting"
    time: float = 0.0
    """When it came there, since the epoch."""

    step_seconds: float | None = None
    """Median time of the latest steps, all that is between them included."""


STACKS_SIGNAL = signal.SIGUSR2
"""Makes a worker write its Python stacks; SIGTERM and SIGUSR1 ask it to stop."""


def answer_with_stacks(path: Path) -> None:
    """Let the signal write the stacks of all threads there, also while Python code can't run."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    faulthandler.register(STACKS_SIGNAL, file=file, all_threads=True)


def read_heartbeat(path: Path) -> Heartbeat | None:
    """What the rank has last written; None when there is nothing whole."""
    try:
        return Heartbeat(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_interval(world_size: int) -> float:
    """Seconds between two writes of one rank."""
    return INTERVAL * max(1.0, world_size / _RANKS_PER_SECOND)


class Pulse:
    """The heartbeat of this process."""

    def __init__(self, path: Path, *, rank: int, world_size: int = 1) -> None:
        self._path = path
        self._interval = write_interval(world_size)
        self._now = Heartbeat(rank=rank, pid=os.getpid(), time=time.time())
        self._seconds: deque[float] = deque(maxlen=_STEPS)
        self._last_step = time.monotonic()
        self._steps = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write_often, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write once more; does not wait long for that."""
        self._over.set()
        self._thread.join(INTERVAL)

    def begin(self, step: int) -> None:
        """Training goes on after this step."""
        self._last_step = time.monotonic()
        self._change(step, "starting")

    def step_done(self, step: int) -> None:
        now = time.monotonic()
        self._seconds.append(now - self._last_step)
        self._last_step = now
        self._steps += 1
        self._change(step, "training" if self._steps > 1 else "starting")

    @contextmanager
    def doing(self, phase: Phase) -> Iterator[None]:
        """In here the process does something else than its steps."""
        before = self._now.phase
        self._change(self._now.step, phase)
        try:
            yield
        finally:
            self._change(self._now.step, before)

    def end(self) -> None:
        """The last step is done; what is left is to clear away."""
        self._change(self._now.step, "ending")

    def _change(self, step: int | None, phase: Phase) -> None:
        self._now = Heartbeat(rank=self._now.rank, pid=self._now.pid, step=step, phase=phase, time=time.time())

    def _write_often(self) -> None:
        written: Heartbeat | None = None
        over = False
        while True:
            now = self._now
            if now is not written:
                with suppress(OSError):  # a full disk; the launcher tries the disk itself before it believes in a stall
                    self._write(now)
                    written = now
            if over:
                return
            over = self._over.wait(self._interval)

    def _write(self, now: Heartbeat) -> None:
        # The first step compiles, the others are what a step takes.
        seconds = list(self._seconds)[1:]
        step_seconds = round(sorted(seconds)[len(seconds) // 2], 4) if seconds else None
        facts = asdict(now) | {"time": round(now.time, 3), "step_seconds": step_seconds}
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.write(file, json.dumps(facts).ljust(_WIDTH - 1).encode() + b"\n")
        finally:
            os.close(file)

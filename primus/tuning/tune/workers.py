"""One thread per GPU: takes problems from the queue until none is left, or its GPU is lost. tuner.py starts them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.tuning.gemm import Gemm
from primus.tuning.measure_process import Failure
from primus.tuning.tune.engine import KINDS, Engine, Found, Task
from primus.tuning.tune.folder import Folder
from primus.tuning.tune.gpus import Gpu
from primus.tuning.tune.journal import Entry, Journal
from primus.tuning.tune.processes import Processes, StoppedError
from primus.tuning.tune.request import TuneRequest
from primus.tuning.tune.work_queue import Queue

_ROOM_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """A GPU that runs nothing any more, and what it ran last."""

    gpu: Gpu
    gemm: Gemm
    failure: Failure

    @property
    def message(self) -> str:
        return f"GPU {self.gpu.number} is lost, and takes no more: {self.gemm.title}: {self.failure.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What the workers of one tuning share."""

    engine: Engine
    request: TuneRequest
    folder: Folder
    journal: Journal
    queue: Queue
    calls: Mapping[Gemm, int]
    told: Callable[[Entry | Lost], None]
    """Hears of everything that is done, from any thread."""

    processes: Processes


class Workers:
    """All GPUs of one tuning."""

    def __init__(self, work: Work, gpus: Sequence[Gpu]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._failed_before: Counter[Gemm] = Counter()
        self.recorded: set[Gemm] = set()
        """What has an answer."""

        self.lost: list[Lost] = []
        self._pool = ThreadPoolExecutor(max(1, len(gpus)), thread_name_prefix="gpu")
        self._running = [self._pool.submit(self._run, gpu) for gpu in gpus]

    def wait(self, seconds: float) -> bool:
        """Whether all have ended. Raises what ended one of them: a disk that is full, a fault of ours."""
        done, running = futures.wait(self._running, timeout=seconds, return_when=futures.FIRST_EXCEPTION)
        for each in done:
            each.result()
        return not running

    def stop(self) -> None:
        """End what runs, and return when all have ended."""
        self._work.queue.close()
        self._work.processes.stop()
        self._pool.shutdown()

    def _run(self, gpu: Gpu) -> None:
        try:
            self._take_all(gpu)
        except StoppedError:
            return

    def _take_all(self, gpu: Gpu) -> None:
        queue = self._work.queue
        folder = self._work.folder.workers / f"gpu{gpu.number}"
        folder.mkdir(parents=True, exist_ok=True)
        while (gemm := queue.take()) is not None:
            began = time.monotonic()
            answer = self._tune(gemm, gpu, folder)
            lost = isinstance(answer, Failure) and self._is_lost(answer, gpu, folder)
            if isinstance(answer, Failure) and (lost or KINDS[answer.kind].again) and self._is_first(gemm):
                queue.put_back(gemm)  # a GPU that was lost may have been ill before
            else:
                self._record(gemm, gpu, answer, time.monotonic() - began)
                queue.done()
            if isinstance(answer, Failure) and lost:
                self._leave(Lost(gpu=gpu, gemm=gemm, failure=answer))
                return

    def _tune(self, gemm: Gemm, gpu: Gpu, folder: Path) -> Found | Failure:
        work = self._work
        problem = json.dumps(gemm.to_json(), sort_keys=True)
        log = work.folder.logs / log_name(gemm, problem)
        with log.open("a") as file:
            file.write(f"# {gemm.title} on GPU {gpu.number}: {problem}\n")
        task = Task(gemm=gemm, gpu=gpu, folder=folder, log=log, **self._limits())
        return work.engine.tune(task, work.processes)

    def _is_lost(self, failure: Failure, gpu: Gpu, folder: Path) -> bool:
        check_room(folder)
        return KINDS[failure.kind].device and not self._work.engine.is_alive(gpu, self._work.processes)

    def _is_first(self, gemm: Gemm) -> bool:
        """Whether it has not failed before."""
        with self._lock:
            self._failed_before[gemm] += 1
            return self._failed_before[gemm] == 1

    def _record(self, gemm: Gemm, gpu: Gpu, answer: Found | Failure, seconds: float) -> None:
        calls = self._work.calls[gemm]
        entry = Entry(
            gemm=gemm, answer=answer, calls=calls, seconds=round(seconds, 3), gpu=gpu.number, **self._limits()
        )
        self._work.journal.add(entry)
        with self._lock:
            self.recorded.add(gemm)
        self._work.told(entry)

    def _limits(self) -> dict[str, Any]:
        return {name: getattr(self._work.request, name) for name in ("time_limit", "max_workspace")}

    def _leave(self, lost: Lost) -> None:
        with self._lock:
            self.lost.append(lost)
        self._work.told(lost)


def log_name(gemm: Gemm, problem: str) -> str:
    """A file name that a person recognises, and that no other problem has; `problem` says all of it."""
    digest = hashlib.sha256(problem.encode()).hexdigest()[:10]
    readable = re.sub(r"[^\w.-]+", "_", gemm.title.replace("×", "x").replace("→", "-"))
    return f"{readable[:80]}-{digest}.log"


def check_room(folder: Path) -> None:
    """Raises OSError when the disk is full: what a bench writes is lost then without a word, and no shape to blame."""
    path = folder / "room"
    try:
        with path.open("wb") as file:
            file.write(bytes(_ROOM_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)

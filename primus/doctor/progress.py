"""What a worker of `primus doctor` leaves while it works: a file that says what it has measured and what it does, and a
thread that notices when it hangs. worker.py uses it, gather.py reads it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from primus.run import RunDirectory

HUNG = 124
"""Exit status of a worker that gave up a step, as timeout(1) has it."""

_LAST_WORDS = 1.5
"""Seconds in which the others may notice as well, before the first one leaves and all are ended."""

_INTERVAL = 0.2


def result_path(run_dir: Path, node: int, rank: int) -> Path:
    return run_dir / "doctor" / f"node{node}-rank{rank}.json"


class Progress:
    """The file of one rank. Steps are begun and ended one after another."""

    def __init__(self, run_dir: RunDirectory, *, node: int, rank: int, limit: float) -> None:
        self._run_dir, self._path, self._limit = run_dir, result_path(run_dir.path, node, rank), limit
        self._path.parent.mkdir(exist_ok=True)
        self._writing = threading.Lock()
        self._since: float | None = None
        self.facts: dict[str, Any] = {
            "rank": rank,
            "node": node,
            "host": socket.gethostname(),
            "device": {},
            "done": [],
            "doing": None,
            "late": False,
            "seconds": {},
            "values": [],
        }
        threading.Thread(target=self._watch, name="doctor", daemon=True).start()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """In here is one step, which has its time."""
        self.facts["doing"] = name
        self._write()
        begin = self._since = time.monotonic()
        yield
        self._since = None
        self.facts["seconds"][name] = round(time.monotonic() - begin, 4)
        self.facts["done"].append(name)
        self.facts["doing"] = None

    def value(self, name: str, value: float, spread: float, unit: str, **more: Any) -> None:
        """Keep something measured."""
        self.facts["values"].append({"name": name, "value": value, "spread": spread, "unit": unit, **more})

    def finish(self) -> None:
        self._write()

    def _write(self) -> None:
        with self._writing:
            self._run_dir.write_json(self._path, self.facts)

    def _watch(self) -> None:
        """Leave when a step takes too long. The thread runs also while the other one waits in a library."""
        while True:
            time.sleep(_INTERVAL)
            since = self._since
            if since is not None and time.monotonic() - since > self._limit:
                break
        self.facts["late"] = True
        self._write()
        print(f"{self.facts['doing']} did not end within {self._limit:g} s", flush=True)
        time.sleep(_LAST_WORDS)
        os._exit(HUNG)

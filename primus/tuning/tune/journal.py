"""What came of each problem, one line each, on the disk before anything else happens: after a kill -9 at any point
nothing is tuned twice and nothing is lost. tuner.py opens it, the workers add to it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from primus.run import explained
from primus.tuning.gemm import Gemm
from primus.tuning.measure_process import Failure
from primus.tuning.tune.engine import KINDS, Found, Machine

_STAMP = ("revision", "architecture", "compute_units")
"""Of a Machine: numbers of solutions mean something for these only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One problem."""

    gemm: Gemm
    answer: Found | Failure
    calls: int
    """Of the training run for which it was tuned."""

    max_workspace: int
    time_limit: float
    seconds: float
    """That it took."""

    gpu: int

    @property
    def found(self) -> Found | None:
        return self.answer if isinstance(self.answer, Found) else None

    @property
    def default_us(self) -> float:
        """0 for one that failed."""
        return self.answer.comparison.default.median if isinstance(self.answer, Found) else 0.0

    def holds_for(self, max_workspace: int, time_limit: float) -> bool:
        """Whether tuning it again, with these limits, could bring nothing new."""
        if self.max_workspace != max_workspace:
            return False
        if isinstance(self.answer, Found):
            return True
        return not KINDS[self.answer.kind].on_resume and (
            self.answer.kind != "timeout" or time_limit <= self.time_limit
        )

    def to_json(self) -> dict[str, Any]:
        found, failure = (self.answer, None) if isinstance(self.answer, Found) else (None, self.answer)
        return {
            "problem": self.gemm.to_json(),
            **{name: getattr(self, name) for name in _PLAIN},
            "found": found and found.to_json(),
            "failure": failure and asdict(failure),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Entry:
        """What to_json described. Raises KeyError, TypeError or ValueError when it is something else."""
        answer = Found.from_json(value["found"]) if value["found"] else Failure(**value["failure"])
        plain = {name: value[name] for name in _PLAIN}
        return cls(gemm=Gemm.from_json(value["problem"]), answer=answer, **plain)


_PLAIN = ("calls", "max_workspace", "time_limit", "seconds", "gpu")


class Journal:
    """Thread-safe."""

    def __init__(self, path: Path, machine: Machine) -> None:
        """Read what is there, cut off a last line that is not whole, and go on from there."""
        self._entries: dict[Gemm, Entry] = {}
        """By problem; the newest of each."""

        self.damaged = 0
        """Lines that can't be read: what they said is tuned again."""

        self._lock = threading.Lock()
        with explained(f"can't write {path}"):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            text = path.read_bytes()
            whole = text[: text.rfind(b"\n") + 1]
            os.ftruncate(self._file, len(whole))
            for line in whole.splitlines()[1:]:
                self._read(line)
            if not whole:
                self._write({"journal": 1, **{name: getattr(machine, name) for name in _STAMP}})

    def add(self, entry: Entry) -> None:
        """Returns when it is on the disk. Raises OSError when it can't be."""
        with self._lock:
            self._write(entry.to_json())
            self._entries[entry.gemm] = entry

    def snapshot(self) -> dict[Gemm, Entry]:
        """What is there now."""
        with self._lock:
            return dict(self._entries)

    def close(self) -> None:
        os.close(self._file)

    def _read(self, line: bytes) -> None:
        try:
            entry = Entry.from_json(json.loads(line))
        except (KeyError, TypeError, ValueError):
            self.damaged += 1
        else:
            self._entries[entry.gemm] = entry

    def _write(self, value: Mapping[str, Any]) -> None:
        data = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)


def stamp_of(path: Path) -> dict[str, Any] | None:
    """Build, architecture and compute units that a journal was made with; None without a journal, {} for one that does
    not say."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    if not line.endswith(b"\n"):  # killed before it had begun
        return None
    try:
        first = json.loads(line)
        return {name: first[name] for name in _STAMP}
    except (KeyError, TypeError, ValueError):
        return {}

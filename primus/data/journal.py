"""What an interrupted `primus data prepare` leaves for the next one: a line per finished shard. prepare.py writes it; a
line is only written once the shard is on the disk."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from primus.data.formats import Counts
from primus.errors import UsageError

_NAME = "journal.jsonl"

SYNC_SECONDS = 5.0
"""How much work an interruption may cost."""

_LOCK_TRIES, _LOCK_PAUSE = 20, 0.1


@contextmanager
def work_folder(path: Path) -> Iterator[None]:
    """Hold the folder for unfinished work alone. Nothing is left of it when there is nothing to go on from."""
    path.mkdir(parents=True, exist_ok=True)
    lock = _lock(path / "lock")
    try:
        yield
    finally:
        if not (path / _NAME).exists():
            shutil.rmtree(path)
        os.close(lock)


def is_interrupted(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Whether the folder holds the journal of an earlier run of the same plan."""
    return next(iter(_read_lines(folder / _NAME)), None) == plan


class Journal:
    """Finished shards in order, from the first to the first gap."""

    def __init__(self, folder: Path, plan: Mapping[str, Any], *, sync: Callable[[], None]) -> None:
        self._path = folder / _NAME
        self._sync = sync
        self._pending: list[dict[str, int]] = []
        self._last_sync = time.monotonic()
        self.shards = 0
        """Shards that are done."""

        self.total = Counts()
        """What they added."""

        self.finished = False
        """The output is complete and only has to be published."""

        self.differences = self._restore(plan)
        """Parts of the plan in which an interrupted run was another one, so that this one starts from the beginning."""

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pending and not isinstance(error, OSError):  # after that one, the disk takes nothing more
            self.flush()

    def add(self, counts: Counts) -> None:
        """Take note of the next shard in order."""
        self._pending.append({"shard": self.shards, **asdict(counts)})
        self.shards += 1
        self.total += counts
        if time.monotonic() - self._last_sync >= SYNC_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Bring all that was noted onto the disk."""
        self._sync()
        self._append(*self._pending)
        self._pending = []
        self._last_sync = time.monotonic()

    def finish(self) -> None:
        """Note that the output is complete."""
        self._append(*self._pending, {"finished": True})
        self._pending = []
        self.finished = True

    def discard(self) -> None:
        """Forget everything: there will be nothing to go on from."""
        self._pending = []
        self._path.unlink()

    def _restore(self, plan: Mapping[str, Any]) -> list[str]:
        lines = _read_lines(self._path)
        if not lines or lines[0] != plan:
            self._path.unlink(missing_ok=True)
            self._append(plan)
            return [name for name in plan if lines and lines[0].get(name) != plan[name]]
        for line in lines[1:]:
            if "finished" in line:
                self.finished = True
            elif line.pop("shard") == self.shards:  # Ctrl-C during a flush can leave lines twice
                self.shards += 1
                self.total += Counts(**line)
        return []

    def _append(self, *lines: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; one that was cut short by a kill is left out, and removed from the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def _lock(path: Path) -> int:
    """The worker processes of a killed run hold the lock for a moment longer than it does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        else:
            return handle
    os.close(handle)
    raise UsageError(f"another primus data prepare is at work on this output ({path.parent})")

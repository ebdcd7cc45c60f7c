"""Reads files that other processes are still writing: the log of a rank, the metrics of a run. terminal.py uses it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from primus.backends.log import previous

_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 16
"""Bytes; a longer line is passed on in pieces."""


class Follower:
    """New whole lines of a file, from its beginning, whether or not it exists yet, and through its rotations."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._rest = b""
        self._leaving = False

    def read(self) -> bytes:
        """The lines that have come since the last call, up to a megabyte; empty when there are none."""
        chunk = self._read_chunk()
        text = self._rest + chunk
        end = text.rfind(b"\n") + 1
        if not end and len(text) > _LONGEST_LINE:
            end = len(text)
        self._rest = text[end:]
        return text[:end]

    def rest(self) -> bytes:
        """What follows the last whole line; for the end, when no more will come."""
        rest, self._rest = self._rest, b""
        return rest

    def skip(self, keep: int) -> int:
        """Leave out all but about `keep` bytes of what waits to be read; returns how many bytes were left out."""
        if self._file is None:
            return 0
        position = os.lseek(self._file, 0, os.SEEK_CUR)
        waiting = os.fstat(self._file).st_size - position
        if waiting <= keep:
            return 0
        os.lseek(self._file, position + waiting - keep, os.SEEK_SET)
        part = os.read(self._file, _CHUNK)
        begin = part.find(b"\n") + 1  # the first line is a piece of one
        os.lseek(self._file, begin - len(part), os.SEEK_CUR)
        self._rest = b""
        return waiting - keep + begin

    def is_replaced(self) -> bool:
        """Whether another file has taken the name of the one that is read."""
        if self._file is None:
            return False
        try:
            return self.path.stat().st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read_chunk(self) -> bytes:
        if self._file is None:
            try:
                self._file = os.open(self.path, os.O_RDONLY)
            except FileNotFoundError:
                return b""
        chunk = os.read(self._file, _CHUNK)
        if chunk or not self.is_replaced():
            self._leaving = False
        elif not self._leaving:  # a write that had begun before the change may still come
            self._leaving = True
        else:
            self._go_on()
        return chunk

    def _go_on(self) -> None:
        """Open the file that follows the one that was rotated away: its successor may have been rotated since."""
        assert self._file is not None
        self._leaving = False
        own, older = os.fstat(self._file).st_ino, previous(self.path)
        for path in (older, self.path):
            try:
                file = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            if path == self.path or os.fstat(file).st_ino != own:
                os.close(self._file)
                self._file = file
                return
            os.close(file)


class Metrics:
    """New objects of a metrics.jsonl."""

    def __init__(self, path: Path) -> None:
        self._follower = Follower(path)

    def read(self) -> Iterator[dict[str, Any]]:
        if self._follower.is_replaced():  # an attempt that goes on from a checkpoint has taken lost steps out
            self._follower.close()
            self._follower = Follower(self._follower.path)
        for line in self._follower.read().splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # half a line, from a disk that was full: nothing to show, and no reason to stop
                continue

    def close(self) -> None:
        self._follower.close()

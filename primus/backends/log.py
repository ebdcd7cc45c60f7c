"""The log file of a worker process: where all goes that it prints, whatever becomes of the disk. worker.py opens it,
and the launcher checks the limit of its size."""

from __future__ import annotations

import faulthandler
import io
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.errors import UsageError

LIMIT_VARIABLE = "PRIMUS_LOG_MAX_BYTES"
"""Size beyond which a rank's log is rotated; 0 never does."""

DEFAULT_LIMIT = 1 << 30

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

_INTERVAL = 0.5
"""Seconds between two looks at the size."""


def size_limit(environ: Mapping[str, str]) -> int:
    """Bytes after which a log is rotated, or 0; UsageError for a size that is none."""
    text = environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT)
    match = re.fullmatch(r"(?P<number>\d+)(?P<unit>[KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{LIMIT_VARIABLE}={text}: expected a size in bytes, as 500M or 2G, or 0 for no limit")
    return int(match["number"]) * _UNITS[match["unit"].upper()]


def previous(log: Path) -> Path:
    """What a log was renamed to when it had grown too large."""
    return log.with_name(f"{log.name}.1")


def open_log(path: Path, limit: int) -> None:
    """Send everything that this process prints, from C too, to this file, line by line."""
    _redirect(path)
    sys.stdout = sys.__stdout__ = _stream(1, "<stdout>")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "<stderr>")  # type: ignore[misc]
    faulthandler.enable()
    if limit:
        threading.Thread(target=_keep_small, args=(path, limit), name="log", daemon=True).start()


class Output(io.RawIOBase):
    """A file descriptor that takes every byte: what the disk refuses is counted, and told when there is room again.
    Training goes on when its log can't."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._lost = 0
        self._reason = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any, /) -> int:
        try:
            if self._lost:
                os.write(self._descriptor, f"\n[{self._lost:,} bytes are missing here: {self._reason}]\n".encode())
                self._lost = 0
            return os.write(self._descriptor, data)
        except OSError as error:
            self._lost += len(data)
            self._reason = error.strerror or str(error)
            return len(data)


def _stream(descriptor: int, name: str) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(Output(descriptor, name))
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _redirect(path: Path) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _keep_small(path: Path, limit: int) -> None:
    """Rotate the log whenever it has grown beyond the limit. A thread, since C code can fill it while Python waits."""
    while True:
        time.sleep(_INTERVAL)
        try:
            if os.fstat(1).st_size > limit:
                rotate(path)
        except OSError:  # no room for a new file, or the folder has gone: the old one goes on
            continue


def rotate(path: Path) -> None:
    """Go on in a new file, and keep the old one as the only predecessor. Every write ends up in one of the two, since
    the kernel exchanges the file behind a descriptor in one go."""
    fresh = path.with_name(f".{path.name}.new")
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
    path.replace(previous(path))
    fresh.replace(path)
    _redirect(path)

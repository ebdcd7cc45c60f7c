"""The notes that failed workers leave in the run directory: who writes them, and which of them came first. account.py
makes the report of them; local.py and the agent use this as well."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.backends.log import previous
from primus.errors import MissingError
from primus.launch.diagnosis import diagnose
from primus.redact import redact_text
from primus.run import RunDirectory

_SIGNAL_HEAD_START = 0.5
"""Seconds. A worker that is killed takes its connections with it; others may report that before its death is seen."""

_AFTERMATH = 5.0
"""Seconds in which a failure that follows from another one may be noted before that."""

_TAIL_BYTES = 64 * 1024

_SIGNAL_NOTES = {
    signal.SIGKILL: "killed from outside, often by the kernel when memory runs out: see `dmesg`",
    signal.SIGSEGV: "a crash in native code; the log shows the Python stack",
    signal.SIGABRT: "native code gave up; the log says why",
    signal.SIGBUS: "often no space left in /dev/shm",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A worker process that has ended."""

    rank: int
    local_rank: int
    pid: int
    status: int
    """As a shell has it: 128+N after signal N."""


def note_of(ended: Ended, *, node: int, attempt: int = 1, kernel: Sequence[str] = ()) -> dict[str, Any]:
    """What is to be said of the end of a worker that could not say so itself: a signal, or an exit without an
    exception. `kernel` is what the kernel says of it."""
    return {
        "rank": ended.rank,
        "node": node,
        "local_rank": ended.local_rank,
        "host": socket.gethostname(),
        "pid": ended.pid,
        "attempt": attempt,
        "time": time.time(),
        "exit_status": ended.status,
        "message": describe_status(ended.status),
        "traceback": "",
        "kernel": list(kernel),
    }


def record_exit(run_dir: RunDirectory, note: Mapping[str, Any]) -> None:
    """Write that down, unless the worker has left a note."""
    path = run_dir.failure_path(note["node"], note["rank"])
    if path.exists():
        return
    try:
        run_dir.write_json(path, note)
    except MissingError as error:  # a full disk must not hide how training ended
        print(f"Warning: {error}", file=sys.stderr)


def describe_status(status: int) -> str:
    """An exit status in words: `died of SIGKILL (killed from outside …)`."""
    number = died_of(status)
    if number is None:
        return f"left with exit status {status}"
    note = _SIGNAL_NOTES.get(number)
    return f"died of {number.name}" + (f" ({note})" if note else "")


def died_of(status: int) -> signal.Signals | None:
    """The signal in an exit status of the form 128+N."""
    try:
        return signal.Signals(status - 128)
    except ValueError:
        return None


def first_failure(failures: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The failure that the others followed from, as far as time and their messages tell."""
    begin = min(map(_begin, failures), default=0.0)
    early = [failure for failure in failures if _begin(failure) <= begin + _AFTERMATH]
    return min(early, key=lambda failure: (_follows(failure), _begin(failure)), default=None)


def tail_of(log: Path, count: int) -> list[str]:
    """The last lines of a log, also when it has just been rotated; none when it does not exist."""
    text = _end_of(log)
    if text.count("\n") < count:
        text = _end_of(previous(log)) + text
    return redact_text(text).splitlines()[-count:]


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _begin(failure: Mapping[str, Any]) -> float:
    by_signal = failure["exit_status"] > 128
    return float(failure["time"]) - (_SIGNAL_HEAD_START if by_signal else 0.0)


def _follows(failure: Mapping[str, Any]) -> bool:
    """Whether a worker says that another one went away."""
    found = diagnose([failure["message"]])
    return bool(found) and found[0].general

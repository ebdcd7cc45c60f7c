"""What ended a run: the failures that workers left in the run directory, which of them came first, and how that is
told. local.py and the agent use it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.errors import MissingError
from primus.redact import redact_text
from primus.run import RunDirectory

TAIL = 20
"""Lines of a failed rank's log that the report shows."""

_SIGNAL_HEAD_START = 0.5
"""Seconds. A worker that is killed takes its connections with it; others may report that before its death is seen."""

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


def record_exit(run_dir: RunDirectory, *, node: int, ended: Ended) -> None:
    """Write down the end of a worker that could not do so itself: a signal, or an exit without an exception."""
    path = run_dir.failure_path(node, ended.rank)
    if path.exists():
        return
    failure = {
        "rank": ended.rank,
        "node": node,
        "local_rank": ended.local_rank,
        "host": socket.gethostname(),
        "pid": ended.pid,
        "time": time.time(),
        "exit_status": ended.status,
        "message": describe_status(ended.status),
        "traceback": "",
    }
    try:
        run_dir.write_json(path, failure)
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


def first_failure(failures: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The failure that the others followed from, as far as time tells."""
    return min(failures, key=_begin, default=None)


def report(run_dir: RunDirectory, failures: Sequence[dict[str, Any]], *, shown: Collection[int]) -> str:
    """The account of a failed run for the terminal; `shown` are the ranks whose log is on the terminal already."""
    failure = first_failure(failures)
    assert failure is not None
    rank, node = failure["rank"], failure["node"]
    log = run_dir.log_path(node, rank)
    lines = [f"Training failed: rank {rank} on node {node} ({failure['host']}), exit status {failure['exit_status']}"]
    lines += [f"  {line}" for line in redact_text(failure["message"]).splitlines()]
    lines += _others(failure, failures)
    tail = [] if rank in shown else tail_of(log)
    if not tail and not log.exists():  # it ended before it had opened one
        log = run_dir.agent_log(node)
        tail = tail_of(log)
    if tail:
        lines += [f"Last lines of {log}:", *(f"  {line}" for line in tail)]
    else:
        lines.append(f"Its log: {log}")
    return "\n".join(lines)


def _others(first: dict[str, Any], failures: Sequence[dict[str, Any]]) -> list[str]:
    """What is to be said about the workers that failed besides the first one."""
    same = sum(failure["message"] == first["message"] for failure in failures) - 1
    after = len(failures) - 1 - same
    lines = [f"  The same on {same} other worker{'s' * (same > 1)}."] if same else []
    return lines + ([f"  {after} other worker{'s' * (after > 1)} failed after it."] if after else [])


def tail_of(log: Path, count: int = TAIL) -> list[str]:
    """The last lines of a log, or none when it does not exist."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [redact_text(line) for line in text.splitlines()[-count:]]


def _begin(failure: dict[str, Any]) -> float:
    by_signal = failure["exit_status"] > 128
    return float(failure["time"]) - (_SIGNAL_HEAD_START if by_signal else 0.0)

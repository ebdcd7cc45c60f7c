"""The processes that the workers have started, so that all of them can be ended at once. Workers run theirs here."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from primus.lifeline import end_with_parent


class StoppedError(Exception):
    """The tuning was asked to stop while something ran; nothing is known of that."""


class Processes:
    """At most one of each thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may come while it is held
        self._running: dict[int, subprocess.Popen[Any]] = {}
        self.stopped = False

    def add(self, process: subprocess.Popen[Any]) -> None:
        """Remember one that this thread has started; raises StoppedError when it should not have."""
        with self._lock:
            self._running[threading.get_ident()] = process
            self.check()

    def check(self) -> None:
        if self.stopped:
            raise StoppedError

    def stop(self) -> None:
        """Kill all that run, and let no more begin."""
        with self._lock:
            self.stopped = True
            for process in self._running.values():
                kill(process)

    def run(self, command: Sequence[str], *, environ: Mapping[str, str], output: Path, timeout: float) -> int | None:
        """Run a command with its output added to a file. Its status, -N after signal N, None when time was up."""
        self.check()
        end = time.monotonic() + timeout
        with (
            output.open("ab") as file,
            subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; and it may have processes of its own, which end with it
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one call of the kernel; without it, runs outlive a kill -9
            ) as process,
        ):
            try:
                self.add(process)
                status: int | None = process.wait(max(end - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                status = None
            finally:
                kill(process)
        self.check()
        return status


def kill(process: subprocess.Popen[Any]) -> None:
    """With all that belongs to it, when it is the leader of a session; else alone."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

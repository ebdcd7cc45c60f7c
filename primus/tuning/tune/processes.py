"""The processes that the workers have started, so that all of them can be ended at once. Workers run theirs here."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from primus.errors import MissingError
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

    def run(
        self, command: Sequence[str], *, environ: Mapping[bytes, bytes], output: Path, timeout: float
    ) -> int | None:
        """Run a command with its output added to a file. Its status, -N after signal N, None when time was up."""
        self.check()
        end = time.monotonic() + timeout
        with (
            output.open("ab") as file,
            _start(command, environ, file) as process,
        ):
            try:
                self.add(process)
                status = process.wait() if _ends(process, end - time.monotonic()) else None
            finally:
                kill(process)
        self.check()
        return status


def _start(command: Sequence[str], environ: Mapping[bytes, bytes], output: IO[bytes]) -> subprocess.Popen[Any]:
    try:
        return subprocess.Popen(
            [*tie(), *command],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; and it may have processes of its own, which end with it
            preexec_fn=None if tie() else end_with_parent,  # noqa: PLW1509 - one call of the kernel
        )
    except (FileNotFoundError, PermissionError) as error:
        raise MissingError(f"can't run {command[0]}: {os.strerror(error.errno or 0)}") from error


@cache
def tie() -> tuple[str, ...]:
    """A command that ties the one after it to us, so that no run outlives a kill -9. Empty where there is none: then we
    do it ourselves, which takes several times as long, since a process with threads has to be copied for it."""
    program = shutil.which("setpriv")
    if program is None:
        return ()
    found = (program, "--pdeathsig", "KILL", "--")
    works = subprocess.run([*found, "true"], capture_output=True, check=False).returncode == 0
    return found if works else ()


def _ends(process: subprocess.Popen[Any], seconds: float) -> bool:
    """Whether it ends in so many seconds; known at once when it does, where Popen.wait() would look every 50 ms."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:  # a kernel or a sandbox without it
        return _waited(process, seconds)
    try:
        return bool(select.select([handle], [], [], max(seconds, 0.0))[0])
    finally:
        os.close(handle)


def _waited(process: subprocess.Popen[Any], seconds: float) -> bool:
    try:
        process.wait(max(seconds, 0.0))
    except subprocess.TimeoutExpired:
        return False
    return True


def encoded(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    """As the kernel wants it: once for many runs, since that takes longer than starting one."""
    return {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}


def kill(process: subprocess.Popen[Any]) -> None:
    """With all that belongs to it, when it is the leader of a session; else alone."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

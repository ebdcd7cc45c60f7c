"""Runs a container as the child of a launcher: hands it its variables, passes signals in, and leaves none behind.
local.py uses it in the place of a plain Supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from primus.launch.container.render import Container
from primus.launch.supervise import LEAVE, Supervisor

_STUCK = 10.0
"""Seconds that the runtime gets to end a container that is to be killed."""

_REMOVED = range(125)
"""Exit statuses of a runtime that has run the container to its end, and removed it."""


class ContainerSupervisor(Supervisor):
    """Signals go through the container's standard input to enter.py, since a runtime forwards none before the container
    runs. When this process dies, that input ends, and enter.py kills what is inside."""

    _stdin = subprocess.PIPE

    def __init__(self, container: Container) -> None:
        super().__init__()
        self._container = container
        self._variables = _Variables(container.env_text)
        self._kill_asked: float | None = None

    def run(self, environ: Mapping[str, str], log: Path) -> None:
        """Start the container; `environ` is that of the runtime's program, whose output goes to `log`."""
        named = {name: self._container.variables[name] for name in self._container.by_name}
        self._variables.offer()
        self.start(self._container.argv(self._variables.path), {**environ, **named}, log)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        child = self._child
        try:
            if child is not None and child.stdin is not None:
                child.stdin.close()
            super().__exit__(kind, error, at)
        finally:
            self._variables.close()
            if child is not None and child.returncode not in _REMOVED and self._container.runtime.name != "apptainer":
                self._remove()

    def _tell(self, number: signal.Signals) -> None:
        child = self._child
        if child is None or child.stdin is None or child.returncode is not None:
            return
        if number == signal.SIGKILL:
            self._kill_asked = self._kill_asked or time.monotonic()
            if time.monotonic() - self._kill_asked > _STUCK:
                super()._tell(number)
        with suppress(BrokenPipeError):  # it has just ended
            os.write(child.stdin.fileno(), bytes([number]))

    def _clear_away(self, patience: float) -> None:
        """The runtime's helpers clear away the container, which must not be cut short."""
        super()._clear_away(LEAVE)

    def _remove(self) -> None:
        """A container that its runtime may have left; none of that name is as well."""
        argv = [self._container.runtime.program, "rm", "--force", self._container.name]
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)


class _Variables:
    """A file of variables that is read once: a pipe with a name, of mode 0600 in a folder of mode 0700. Nothing of it
    comes to a disk, and the name goes as soon as the runtime has read it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._folder: str | None = None
        self.path = ""

    def offer(self) -> None:
        """Make the pipe, and wait in the background for its reader."""
        self._folder = tempfile.mkdtemp(prefix="primus-")
        self.path = os.path.join(self._folder, "env")
        os.mkfifo(self.path, 0o600)
        threading.Thread(target=self._write, args=(self.path, self._folder), daemon=True).start()

    def close(self) -> None:
        """Take it away, also when nobody has read it."""
        if self._folder is not None:
            with suppress(FileNotFoundError):  # it was read
                os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))  # lets the writer go on
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _write(self, path: str, folder: str) -> None:
        with suppress(BrokenPipeError), open(path, "wb") as pipe:
            pipe.write(os.fsencode(self._text))
        shutil.rmtree(folder, ignore_errors=True)

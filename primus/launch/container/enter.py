"""The first process in a container that Primus started: it starts training, passes on what the launcher asks for, and
ends with the launcher. Run by the image's own Python, by path; standard library only, no syntax newer than Python 3.7.

    python3 enter.py NOTES PACKAGES -m MODULE ARGUMENTS...

Its input is a pipe from the launcher, which each runtime brings inside: a byte is the number of a signal for training,
and its end means that the launcher has gone.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from importlib.util import find_spec

TYPE_CHECKING = False  # typing itself takes time to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

OLDEST = (3, 10)
MISSING = 4
LEAVE = 5.0
"""Seconds that what training started (uploads) gets to end after it."""

_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main() -> NoReturn:
    """Be the first process of a container."""
    notes, packages, worker = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
    del sys.path[0]  # this folder, whose modules are not for here
    check(packages)
    settle()
    reader = open_signals()
    training = start(worker)
    write_notes(notes)
    status = watch(training, reader)
    if status == 0:
        wait_for_others()
    os._exit(status)


def check(packages: list[str]) -> None:
    """Leave with a clear message when training can't run in this image."""
    version = sys.version.split()[0]
    if sys.version_info < OLDEST:
        leave(f"Primus needs Python {OLDEST[0]}.{OLDEST[1]} or newer; python3 of this image is {version}")
    missing = [name for name in packages if name and not is_installed(name)]
    if missing:
        leave(f"this image lacks what training needs: {', '.join(missing)} (looked for by {sys.executable})")


def is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a parent of a dotted name is absent
        return False


def leave(message: str) -> NoReturn:
    print(f"Error: {message}", file=sys.stderr, flush=True)
    sys.exit(MISSING)


def settle() -> None:
    """Make training find Primus, the libraries that the image lacks, a home that it can write to, a user's name; take
    away the variables that it must not have."""
    for name in os.environ.pop("PRIMUS_UNSET", "").split(","):
        os.environ.pop(name, None)
    root = os.path.abspath(__file__)
    for _ in ["primus", "launch", "container", "enter.py"]:
        root = os.path.dirname(root)
    paths = [root] if find_spec("yaml") else [root, os.path.join(root, "lib")]
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["PRIMUS_PARENT_PID"] = str(os.getpid())
    home = os.environ.get("HOME") or "/"
    if home in ("/", os.getcwd()) or not os.access(home, os.W_OK):  # podman makes the project the home of a stranger
        os.environ["HOME"] = "/tmp"
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:  # libraries name their caches after the user
        os.environ.setdefault("USER", f"user{os.getuid()}")


def open_signals() -> int:
    """The end of a pipe on which each signal that comes is a byte."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    for number in (*_STOP, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(writer)
    return reader


def start(worker: list[str]) -> int:
    """The process id of training."""
    nothing = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    return os.posix_spawn(sys.executable, [sys.executable, *worker], os.environ, file_actions=nothing)


def write_notes(path: str) -> None:
    """That this process has begun, and what is in the image."""
    import json  # now that training is on its way

    facts = {"python": sys.version.split()[0], "executable": sys.executable, "packages": dict(sorted(find_packages()))}
    try:
        with open(f"{path}.partial", "w") as file:
            json.dump(facts, file, indent=2)
        os.replace(f"{path}.partial", path)
    except OSError as error:  # training says what is wrong with the run directory
        print(f"Warning: can't write {path}: {error}", file=sys.stderr, flush=True)


def find_packages() -> Iterator[tuple[str, str]]:
    """Name and version of what is installed, by the names of the folders: reading each one's facts takes a second."""
    for folder in filter(os.path.isdir, sys.path):
        for entry in os.listdir(folder):
            name, dash, version = entry.rpartition(".")[0].partition("-")
            if dash and entry.endswith(".dist-info"):
                yield name, version


def watch(training: int, reader: int) -> int:
    """Pass on signals until training has ended; its exit status, 128+N after signal N."""
    stopping = False
    while True:
        status = collect(training)
        if status is not None:
            return status
        for source in select.select([0, reader], [], [])[0]:
            data = os.read(source, 512)
            if not data:
                data = bytes([signal.SIGKILL])  # the launcher has gone
            for number in data:
                if number == signal.SIGCHLD or (number in _STOP and stopping):
                    continue
                stopping = stopping or number in _STOP
                os.kill(training, signal.SIGTERM if number in _STOP else number)
                if number == signal.SIGKILL:
                    return 128 + number


def collect(training: int) -> int | None:
    """Take note of every child that has ended; the exit status of training when it is among them."""
    status = None
    while True:
        try:
            pid, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == training:
            status = os.WEXITSTATUS(code) if os.WIFEXITED(code) else 128 + os.WTERMSIG(code)


def wait_for_others() -> None:
    """Until no process is left, or the time is over; the rest ends with this one."""
    end = time.monotonic() + LEAVE
    while time.monotonic() < end:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
        except ChildProcessError:
            return


if __name__ == "__main__":
    main()

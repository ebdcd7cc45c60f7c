"""One child process with everything below it: started in a session of its own, told of the launcher's signals, and gone
afterwards to the last descendant. local.py uses it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

from primus.errors import as_in_shell

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Each asks the workers to stop at the next step; a second one kills them."""

HEARD = (*STOP_SIGNALS, signal.SIGUSR1)
"""All that a launcher listens to. SIGUSR1 comes from SLURM before the time is up."""

ECHO = 0.3
"""Seconds in which a request to stop that comes again is the same one: `timeout`, job control and schedulers send it to
the process and to its group."""

LEAVE = 5.0
"""Seconds that helpers of the workers (uploads, compilers) get to leave on their own after a good end."""


class Interrupted(BaseException):
    """The user asked the launcher to stop while no workers were running."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


class Supervisor:
    """A context: no process that it started outlives it. To be told of signals, it has to be listening()."""

    _stdin = subprocess.DEVNULL
    """What the child reads."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        """The signal that asked the launcher to stop."""

        self.requests = 0
        """Signals that asked for it; with the second one the workers are killed at once."""

        self.killed = False
        """The workers did not stop in time, or were not given any."""

        self.grace = 30.0
        """Seconds between the request to stop and the kill."""

        self._child: subprocess.Popen[bytes] | None = None
        self._deadline: float | None = None
        self._asked_at = 0.0
        self._others: frozenset[int] = frozenset()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """In here signals are passed on, and kept in mind also when no child runs any more."""
        handlers = {}
        for number in HEARD:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background job
                handlers[number] = signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # then each child would seem to have ended well
            handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def __enter__(self) -> Supervisor:
        self._others = frozenset(_own_descendants())
        _adopt_orphans(True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            well = error is None and self._child is not None and self._child.returncode == 0
            self._clear_away(LEAVE if well else 0.0)
        finally:
            _adopt_orphans(False)

    def start(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start the child; what it prints before it opens a log of its own goes to `log`."""
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                list(argv),
                env=dict(environment),
                stdin=self._stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self.asked is not None:  # signals that came while it was being started
            self._tell(signal.SIGKILL if self.killed else signal.SIGTERM)

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def wait(self, seconds: float) -> int | None:
        """The child's exit status as a shell has it (128+N after signal N), or None while it runs."""
        assert self._child is not None
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._kill()
        try:
            status = self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return as_in_shell(status)

    def tell(self, number: int) -> None:
        """Send the child a signal, which an agent passes on to its workers."""
        self._tell(signal.Signals(number))

    def end_within(self, seconds: float) -> None:
        """Kill the child if it has not ended by then."""
        deadline = time.monotonic() + seconds
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self._tell(signal.SIGUSR1)
        elif self.asked is None:
            self.asked = signal.Signals(number)
            self.requests = 1
            self._asked_at = time.monotonic()
            self._deadline = self._asked_at + self.grace
            self._tell(signal.SIGTERM)
        elif time.monotonic() - self._asked_at > ECHO:
            self.requests += 1
            self._kill()

    def _tell(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(number)

    def _kill(self) -> None:
        """Kill the child; the workers of an agent follow it, since they die with their parent."""
        self.killed = True
        self._tell(signal.SIGKILL)

    def _clear_away(self, patience: float) -> None:
        """Wait for what is left below this process, then kill it."""
        begin = time.monotonic()
        while left := _own_descendants() - self._others:
            if time.monotonic() - begin >= patience:
                for pid in left:
                    _kill_one(pid)
            if time.monotonic() - begin > patience + LEAVE:  # stuck in the kernel: nothing can end it
                return
            self._reap(left)
            time.sleep(0.02)

    def _reap(self, pids: set[int]) -> None:
        if self._child is not None:
            self._child.poll()
        for pid in pids:
            if self._child is None or pid != self._child.pid:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:  # a grandchild: it becomes ours when its parent is gone
                    continue


def _own_descendants() -> set[int]:
    """Everything below this process. Where it has no child, not every process of the machine is looked at."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    return descendants(os.getpid())


def _adopt_orphans(on: bool) -> None:
    """Become the parent of descendants whose own parent has gone, so that none gets out of sight."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, int(on))


def descendants(ancestor: int) -> set[int]:
    """Process ids of everything below a process."""
    by_parent: dict[int, list[int]] = {}
    for pid, parent in _processes():
        by_parent.setdefault(parent, []).append(pid)
    found: set[int] = set()
    pending = [ancestor]
    while pending:
        below = by_parent.get(pending.pop(), [])
        found.update(below)
        pending.extend(below)
    return found


def _processes() -> Iterator[tuple[int, int]]:
    """Id and parent's id of every process. The parent is the second field behind the command's closing parenthesis."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # it went while we looked
            continue
        yield int(entry.name), int(stat.rpartition(")")[2].split()[1])


def _kill_one(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

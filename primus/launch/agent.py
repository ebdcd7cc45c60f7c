"""torchrun with a true exit status: `python -m primus.launch.agent` takes torchrun's own arguments, starts the workers
of one node through it, and leaves with the status of the worker that failed first. local.py starts it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from primus.backends.heartbeat import STACKS_SIGNAL
from primus.launch.failure import Ended, first_failure, note_of, record_exit
from primus.launch.kernel import KernelWatch
from primus.launch.supervise import children
from primus.lifeline import PARENT_VARIABLE, die_with_parent
from primus.run import ATTEMPT_VARIABLE, RunDirectory

_AFTERMATH = 2.0
"""Seconds that the other workers get to say something after one has failed; they can't go on without it."""

_INTERVAL = 0.02
"""Seconds between two looks at the workers; torchrun looks every 0.1 s, and we want to see the end before it does."""

_STOPPED = frozenset({0, 128 + signal.SIGTERM, 128 + signal.SIGUSR1})
"""Exit statuses of workers that ended well, or as they were asked to."""


def main() -> NoReturn:
    """Run torchrun here and leave with the first failing worker's exit status."""
    die_with_parent()
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    for number in (signal.SIGUSR1, STACKS_SIGNAL):
        signal.signal(number, _forward)
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    arguments = torchrun.parse_args(sys.argv[1:])
    run_dir, node = RunDirectory(arguments.training_script_args[0]), arguments.node_rank
    watch = _Watch(run_dir, node, int(arguments.nproc_per_node))
    # torchrun collects its children in this thread, where a handler comes first, however busy the machine is.
    signal.signal(signal.SIGCHLD, watch.look)
    watch.start()
    try:
        # At the last moment, so that nobody takes it meanwhile. Static rendezvous starts the workers some 0.2 s earlier
        # than the one by which torchrun would find a port itself.
        arguments.master_port = arguments.master_port or _free_port()
        torchrun.run(arguments)
    except ChildFailedError as error:
        sys.exit(_status(watch, error))
    except SignalException as error:
        sys.exit(128 + error.sigval)
    finally:
        shutil.rmtree(arguments.log_dir, ignore_errors=True)  # its error files; ours say more
    sys.exit(0)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _status(watch: _Watch, error: Any) -> int:
    """Status of the failure that came first on this node; torchrun's choice when no worker left a note."""
    first = first_failure(watch.failures())
    if first is not None:
        return int(first["exit_status"])
    rank, failure = error.get_first_failure()
    status = _as_in_shell(failure.exitcode)
    if status not in _STOPPED:
        watch.note(Ended(rank=rank, local_rank=failure.local_rank, pid=failure.pid, status=status))
    return status


class _Watch(threading.Thread):
    """Sees workers end before torchrun collects them: notes those that left no note themselves, and ends the others
    when one has failed, where torchrun would wait 30 seconds for workers that hang in a collective."""

    def __init__(self, run_dir: RunDirectory, node: int, count: int) -> None:
        super().__init__(daemon=True)
        self._run_dir, self._node, self._count = run_dir, node, count
        self._attempt = int(os.environ.get(ATTEMPT_VARIABLE, "1"))
        self._kernel = KernelWatch()
        self._local_ranks: dict[int, int] = {}
        """By process id, of every worker that was seen."""

        self._ended: set[int] = set()
        self._failed = False
        self._looking = threading.RLock()  # a handler may interrupt another one

    def run(self) -> None:
        while not self._failed:
            time.sleep(_INTERVAL)
            self.look()
        time.sleep(_AFTERMATH)
        for pid in self._local_ranks.keys() - self._ended:
            if _exit_status(pid) is None:
                with suppress(ProcessLookupError):  # it ended in between
                    os.killpg(pid, signal.SIGKILL)

    def look(self, number: int = 0, frame: FrameType | None = None) -> None:
        """See which workers have ended, until one has failed; also the handler of SIGCHLD."""
        with self._looking:
            if self._failed:
                return
            if len(self._local_ranks) < self._count:
                self._local_ranks |= _workers()
            self._failed = self._one_failed() or self._failed

    def failures(self) -> list[dict[str, Any]]:
        """The notes of this node."""
        return [failure for failure in self._run_dir.read_failures() if failure["node"] == self._node]

    def note(self, ended: Ended) -> None:
        """Write down the end of a worker."""
        kernel = self._kernel.evidence(ended.pid)
        record_exit(self._run_dir, note_of(ended, node=self._node, attempt=self._attempt, kernel=kernel))

    def _one_failed(self) -> bool:
        """Note the workers that have ended since the last look; True when one of them failed."""
        failed = False
        for pid in self._local_ranks.keys() - self._ended:
            status = _exit_status(pid)
            if status is None:
                continue
            self._ended.add(pid)
            if status not in _STOPPED:
                failed = True
                local_rank = self._local_ranks[pid]
                rank = self._node * self._count + local_rank
                self.note(Ended(rank=rank, local_rank=local_rank, pid=pid, status=status))
        return failed


def _forward(number: int, frame: FrameType | None) -> None:
    """Pass a signal on to every worker."""
    for pid in _workers():
        os.kill(pid, number)


def _workers() -> dict[int, int]:
    """Local rank of each running worker, by process id: torchrun's children, known by the environment it gave them."""
    found = {}
    for pid in children(os.getpid()):
        match = re.search(rb"(?:^|\0)LOCAL_RANK=(\d+)\0", _environment(pid))
        if match:
            found[pid] = int(match[1])
    return found


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has just ended
        return b""


def _exit_status(pid: int) -> int | None:
    """Exit status of a child that torchrun has not collected yet; None while it runs. A child that was collected counts
    as ended well: torchrun tells main() about it."""
    try:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def _as_in_shell(status: int) -> int:
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    main()

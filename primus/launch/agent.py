"""Runs the workers of one node where a job has several: starts them, passes signals on to them, ends the others when
one fails, and leaves with the status of the first failure. local.py starts it, as `python -m primus.launch.agent`.
Workers are told what torchrun would tell them, and don't wait until torch is imported here, as with torchrun."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from primus.backends.heartbeat import STACKS_SIGNAL
from primus.errors import ExitStatus, as_in_shell
from primus.launch.kernel import KernelWatch
from primus.lifeline import PARENT_VARIABLE, die_with_parent

_AFTERMATH = 2.0
"""Seconds that the other workers get to say something after one has failed; they can't go on without it."""

_FAREWELL = 300.0
"""Seconds that node 0 keeps the store for workers of other nodes after its own have ended, as torchrun does."""

_LOOK = 0.5
"""Seconds between two looks at the connections of the store, and at how much time is left."""

_BACKLOG = 1 << 15
"""Workers that may ask before the store answers; the kernel takes as many of them as net.core.somaxconn says."""

_STOPS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

_HEARD = _STOPS | {signal.SIGUSR1, STACKS_SIGNAL, signal.SIGCHLD}
"""Signals that wait until this process asks for them, so that none interrupts it, and none is lost."""

_STOPPED = frozenset({0, 128 + signal.SIGTERM, 128 + signal.SIGUSR1})
"""Exit statuses of workers that ended well, or as they were asked to."""


class Place(NamedTuple):
    """This node in the job."""

    nnodes: int
    node: int
    per_node: int
    """Workers of each node."""

    address: str
    """Of node 0, as the workers are told."""

    port: int
    """Of the store; 0 for a free one."""

    worker: tuple[str, ...]
    """Arguments of Python: `-m`, the module, the run directory and the module's other arguments."""

    @property
    def run_dir(self) -> Path:
        return Path(self.worker[2])

    def rank(self, local_rank: int) -> int:
        """The rank in the whole job."""
        return self.node * self.per_node + local_rank

    def variables(self, local_rank: int, port: int) -> dict[str, str]:
        """What torchrun tells a worker (torch/distributed/elastic/agent/server/local_elastic_agent.py)."""
        rank, world_size = str(self.rank(local_rank)), str(self.nnodes * self.per_node)
        return {
            "RANK": rank,
            "LOCAL_RANK": str(local_rank),
            "GROUP_RANK": str(self.node),
            "ROLE_RANK": rank,
            "ROLE_NAME": "default",
            "WORLD_SIZE": world_size,
            "LOCAL_WORLD_SIZE": str(self.per_node),
            "GROUP_WORLD_SIZE": str(self.nnodes),
            "ROLE_WORLD_SIZE": world_size,
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": self.run_dir.name,
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
        }


def main() -> NoReturn:
    """Run the workers of this node to their end."""
    die_with_parent()
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    agent = Agent(parse(sys.argv[1:]), mask)
    try:
        agent.start()
    except OSError as error:  # workers that run already die with this process
        print(f"Error: can't start the workers of this node: {error}", file=sys.stderr)
        sys.exit(ExitStatus.MISSING)
    sys.exit(agent.watch())


def parse(argv: Sequence[str]) -> Place:
    """The command line that render.py writes."""
    parser = argparse.ArgumentParser(description="The workers of one node of Primus; `primus train` starts it.")
    parser.add_argument("--nnodes", type=int, required=True)
    parser.add_argument("--node-rank", type=int, required=True)
    parser.add_argument("--nproc-per-node", type=int, required=True)
    parser.add_argument("--master-addr", required=True)
    parser.add_argument("--master-port", type=int, required=True)
    parser.add_argument("-m", dest="worker", nargs=argparse.REMAINDER, required=True)
    found = parser.parse_args(argv)
    return Place(
        nnodes=found.nnodes,
        node=found.node_rank,
        per_node=found.nproc_per_node,
        address=found.master_addr,
        port=found.master_port,
        worker=("-m", *found.worker),
    )


class Agent:
    """The workers of this node, and on node 0 the store."""

    def __init__(self, place: Place, mask: Collection[int]) -> None:
        """`mask` holds the signals that the workers shall begin with as blocked."""
        self._place, self._mask = place, mask
        self._kernel = KernelWatch()
        self._workers: dict[int, int] = {}
        """Local rank by process id, of those that run."""

        self._store: int | None = None
        self._port = place.port
        self._status = 0
        """Of the first worker that did not end with 0."""

        self._failed = self._killed = self._asked = False
        self._deadline: float | None = None
        """When the workers that are left are killed."""

    def start(self) -> None:
        """Start the workers; then, on node 0, their store, which is up long before the first of them needs it."""
        listener = _listen(self._place) if self._place.node == 0 else None
        if listener is not None:
            self._port = listener.getsockname()[1]
        for local_rank in range(self._place.per_node):
            variables = self._place.variables(local_rank, self._port)
            self._workers[self._spawn(self._place.worker, os.environ | variables)] = local_rank
        if listener is not None:
            with listener:
                os.set_inheritable(listener.fileno(), True)
                store = ("-m", "primus.launch.store", str(listener.fileno()), str(self._port))
                self._store = self._spawn(store, os.environ)

    def watch(self) -> int:
        """Look after the workers until the last one has ended; the exit status of this node."""
        while self._workers:
            self._act(self._hear())
        if not self._failed:
            self._wait_for_other_nodes()
        if self._store is not None:
            os.kill(self._store, signal.SIGKILL)
        if self._failed:
            return self._first_failure()
        return self._status or (128 + signal.SIGTERM if self._asked else 0)

    def _spawn(self, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start Python with these arguments, at the head of a session: it is killed with all it has started."""
        argv = [sys.executable, *arguments]
        return os.posix_spawn(sys.executable, argv, environment, setsid=True, setsigmask=self._mask)

    def _hear(self) -> int | None:
        """The next signal; None after a while without one."""
        heard = signal.sigtimedwait(_HEARD, _LOOK)
        return None if heard is None else heard.si_signo

    def _act(self, number: int | None) -> None:
        if number in _STOPS:
            self._asked = True
            self._tell(signal.SIGTERM)
        elif number in (signal.SIGUSR1, STACKS_SIGNAL):
            self._tell(number)
        elif number == signal.SIGCHLD:
            self._collect()
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._killed = True
            for pid in self._workers:
                with suppress(ProcessLookupError):  # it has just ended
                    os.killpg(pid, signal.SIGKILL)

    def _tell(self, number: int) -> None:
        for pid in self._workers:
            os.kill(pid, number)

    def _collect(self) -> None:
        """Take note of every process that has ended."""
        statuses = {pid: _exit_status(pid) for pid in self._workers}
        ended = [(pid, self._workers.pop(pid), status) for pid, status in statuses.items() if status is not None]
        first = not (self._failed or self._killed)  # later failures follow from it, or were made here
        for pid, local_rank, status in ended:
            if status in _STOPPED and status:  # it won't go on, so the others can't
                self._status = self._status or status
                self._tell(status - 128)
            elif status and first:
                self._note(pid, local_rank, status)
                self._status, self._failed = status, True
                self._end_soon()
        if self._store is not None and (end := _exit_status(self._store)) is not None:
            self._store = None
            self._status = self._status or end
            print(f"Error: the store of the job has ended with exit status {end}", file=sys.stderr)
            self._end_soon()

    def _end_soon(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + _AFTERMATH

    def _note(self, pid: int, local_rank: int, status: int) -> None:
        """Write down the end of a worker that has not done so itself."""
        from primus.launch.failure import Ended, note_of, record_exit
        from primus.run import ATTEMPT_VARIABLE, RunDirectory

        place, attempt = self._place, int(os.environ.get(ATTEMPT_VARIABLE, "1"))
        ended = Ended(rank=place.rank(local_rank), local_rank=local_rank, pid=pid, status=status)
        note = note_of(ended, node=place.node, attempt=attempt, kernel=self._kernel.evidence(pid))
        record_exit(RunDirectory(place.run_dir), note)

    def _first_failure(self) -> int:
        """The exit status of the failure that the others followed from."""
        from primus.launch.failure import first_failure
        from primus.run import RunDirectory

        notes = RunDirectory(self._place.run_dir).read_failures()
        first = first_failure([note for note in notes if note["node"] == self._place.node])
        return self._status if first is None else int(first["exit_status"])

    def _wait_for_other_nodes(self) -> None:
        """On node 0: keep the store while workers elsewhere still use it."""
        deadline = time.monotonic() + _FAREWELL
        while self._store is not None and self._place.nnodes > 1 and time.monotonic() < deadline:
            if _connections(self._port, self._store) <= 1:  # the store itself has one
                return
            if self._hear() in _STOPS:
                self._asked = True
                return


def _listen(place: Place) -> socket.socket:
    """The socket of the store; of this machine alone where all workers are here."""
    if place.nnodes == 1 and place.address == "127.0.0.1":
        return socket.create_server((place.address, place.port), backlog=_BACKLOG)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", place.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    return socket.create_server(("", place.port), backlog=_BACKLOG)


def _connections(port: int, pid: int) -> int:
    """How many connections others have to this port that the process has accepted, or will: the launchers of the nodes
    have theirs at the same port (proc_net_tcp.txt of the kernel)."""
    established, found = "01", 0
    own = _sockets(pid) | {"0"}  # of those that it will accept
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for line in table.read_text().splitlines()[1:]:
                _, here, _, state, _, _, _, _, _, inode, *_ = line.split()
                found += state == established and inode in own and int(here.rpartition(":")[2], 16) == port
    return found


def _sockets(pid: int) -> set[str]:
    """Inodes of what a process has open; none when it has ended. The links of sockets read `socket:[123]`."""
    found = set()
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it was just closed
                found.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    return found


def _exit_status(pid: int) -> int | None:
    """Exit status of a child as a shell has it, 128+N after signal N; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    return as_in_shell(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()

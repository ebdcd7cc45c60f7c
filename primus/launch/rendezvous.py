"""Makes one job of the launchers on several nodes before any worker starts: every node is there once and trains the
same, all take one run directory, and they stay in touch. `primus train` calls it."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from primus.errors import PrimusError, ServiceError
from primus.job import Resources
from primus.launch.attempt import Agreed
from primus.launch.gather import gather, refuse
from primus.launch.introduction import (
    PATIENCE,
    REFUSAL,
    Node,
    error_told,
    read_line,
    refusal_answer,
    report,
    this_node,
)
from primus.launch.link import Link
from primus.run import RUN_ID

_POLL = 0.2
"""Seconds between two attempts to reach node 0."""

_LATER = 30.0
"""Seconds that node 0 may begin to wait after another node, where it is to go on without those that do not come."""


class _NotThereError(ServiceError):
    """Nobody listens where node 0 should."""


def agree(
    resources: Resources, *, digest: str, decide: Callable[[], Agreed], timeout: float, incomplete: bool = False
) -> tuple[Agreed, Link]:
    """Meet the launchers of the other nodes, and return what node 0 decides as soon as all are there, with the
    connections to them. With `incomplete`, those that have come go on without the others when the time is up."""
    me = this_node(resources, digest=digest)
    deadline = time.monotonic() + timeout
    if me.rank == 0:
        assert resources.master_port is not None
        return gather(me, resources.master_port, decide, deadline, incomplete=incomplete)
    waits = deadline + _LATER if incomplete else deadline  # node 0 may have begun to wait later
    return _join(me, (resources.master_addr or "", resources.master_port or 0), waits, timeout + PATIENCE)


@contextmanager
def refusal_told(resources: Resources) -> Iterator[None]:
    """Tell node 0, and through it the others, what went wrong in here, so that nobody waits for this node."""
    try:
        yield
    except PrimusError as error:
        if resources.nnodes > 1 and resources.master_port is not None:
            if resources.node_rank == 0:
                refuse(resources.master_port, resources.nnodes, refusal_answer(error, before="node 0 can't begin: "))
            elif resources.master_addr is not None:
                _tell(this_node(resources, refusal=error), (resources.master_addr, resources.master_port))
        raise


def _tell(me: Node, address: tuple[str, int]) -> None:
    """Report to node 0 if it can be reached within a short time."""
    print(f"Node {me.rank} can't begin; telling node 0.", file=sys.stderr, flush=True)
    deadline = time.monotonic() + REFUSAL
    with suppress(PrimusError):
        while time.monotonic() < deadline:  # again as in _join()
            connection, line = _ask(me, address, deadline, REFUSAL)
            connection.close()
            if line:
                return
            time.sleep(_POLL)


def _join(me: Node, address: tuple[str, int], deadline: float, patience: float) -> tuple[Agreed, Link]:
    """As any other node: report to node 0 by this time, and wait so many seconds for its answer."""
    connection, line = _ask(me, address, deadline, patience)
    soon = time.monotonic() + REFUSAL
    while not line and time.monotonic() < soon:  # it has gone, or was only seeing whether it can be reached there
        connection.close()
        time.sleep(_POLL)
        with suppress(_NotThereError):
            connection, line = _ask(me, address, soon, patience)
    answer = _understood(line, address)
    if "error" in answer:
        raise error_told(answer["status"], answer["error"])
    if not RUN_ID.fullmatch(str(answer.get("run_id", ""))):
        raise ServiceError(f"node 0 at {address[0]}:{address[1]} went away before all nodes had come; see its output")
    agreed = Agreed(run_id=answer["run_id"], attempt=int(answer["attempt"]))
    return agreed, Link({0: connection}, {0: str(answer.get("host", address[0]))})


def _ask(me: Node, address: tuple[str, int], deadline: float, patience: float) -> tuple[socket.socket, str]:
    """The connection to node 0, which has to be there by the deadline, and its answer; empty where it goes without
    one. ServiceError when neither comes within `patience` seconds."""
    connection = _connect(address, deadline)
    try:
        report(me, connection)
        connection.settimeout(patience)
        return connection, read_line(connection).decode(errors="replace")
    except TimeoutError:
        connection.close()
        raise ServiceError(
            f"node 0 at {address[0]}:{address[1]} did not say within {patience:.0f} s that all nodes have come; see "
            "its output, and whether it has the same --rendezvous-timeout"
        ) from None
    except OSError:  # reset
        return connection, ""


def _understood(line: str, address: tuple[str, int]) -> dict[str, Any]:
    """What node 0 answered; empty when nothing came."""
    with suppress(ValueError):
        answer = json.loads(line or "{}")
        if isinstance(answer, dict) and (not answer or {"error", "status"} <= answer.keys() or "run_id" in answer):
            return answer
    raise ServiceError(
        f"what answers at {address[0]}:{address[1]} is not `primus train` on node 0 but says {line[:80].strip()!r}; "
        "give node 0's address and a port that is free there, the same on every node"
    )


def _connect(address: tuple[str, int], deadline: float) -> socket.socket:
    told = False
    while True:
        try:
            return socket.create_connection(address, timeout=PATIENCE)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise _NotThereError(f"node 0 can't be reached at {address[0]}:{address[1]}: {error}") from None
            if not told:
                told = True
                print(f"Waiting for node 0 at {address[0]}:{address[1]}", file=sys.stderr, flush=True)
        time.sleep(_POLL)

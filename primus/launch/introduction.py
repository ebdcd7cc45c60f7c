"""What launchers say when they meet, in lines of JSON: each who it is, or why it can't begin, and node 0 what becomes
of them. rendezvous.py and gather.py use it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from primus.errors import ExitStatus, ExperimentError, MissingError, PrimusError, Problem, ServiceError, UsageError
from primus.job import Resources

PATIENCE = 5.0
"""Seconds for one message; also the time before the user is told who is being waited for."""

REFUSAL = 5.0
"""Seconds in which a node tells the others that it can't begin."""

_LONGEST_LINE = 1 << 16

_LONGEST_REASON = 10_000
"""Characters of an error that the other nodes are told; as JSON each may take six bytes of a line."""

_ERRORS: dict[int, Callable[[str], PrimusError]] = {
    ExitStatus.USAGE: UsageError,
    ExitStatus.EXPERIMENT: lambda text: ExperimentError([Problem(message=text)]),
    ExitStatus.MISSING: MissingError,
    ExitStatus.SERVICE: ServiceError,
}
"""What a node may refuse with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What the launcher of one node tells node 0."""

    rank: int
    nnodes: int
    nproc_per_node: int
    host: str
    digest: str
    """Hash of what it would train."""

    clock: float = 0.0
    """Seconds since the epoch there, when this was sent."""

    refusal: str = ""
    """Why it can't take part."""

    status: int = 0
    """The exit status that it leaves with for that reason."""

    def problem(self) -> PrimusError:
        """Its refusal, for the other nodes."""
        return error_told(self.status, f"node {self.rank} ({self.host}) can't begin: {self.refusal}")


def this_node(resources: Resources, *, digest: str = "", refusal: PrimusError | None = None) -> Node:
    return Node(
        rank=resources.node_rank,
        nnodes=resources.nnodes,
        nproc_per_node=resources.nproc_per_node,
        host=socket.gethostname(),
        digest=digest,
        refusal="" if refusal is None else _in_short(refusal),
        status=0 if refusal is None else int(refusal.status),
    )


def refusal_answer(error: PrimusError, before: str = "") -> dict[str, Any]:
    """What node 0 answers instead of a run directory."""
    return {"error": before + _in_short(error), "status": int(error.status)}


def error_told(status: int, text: str) -> PrimusError:
    """The error of another node, which this one leaves with as well."""
    return _ERRORS.get(status, ServiceError)(text)


def report(me: Node, connection: socket.socket) -> None:
    connection.sendall(json.dumps(asdict(replace(me, clock=time.time()))).encode() + b"\n")


def read_node(line: bytes) -> Node | None:
    """Who has said this; None for a stranger."""
    try:
        return Node(**json.loads(line))
    except (ValueError, TypeError):
        return None


def read_line(connection: socket.socket) -> bytes:
    """The first line; what follows it stays to be read. Without its end when the other side has gone, or won't end."""
    line = b""
    while not is_whole(line):
        part = read_part(connection)
        if not part:
            break
        line += part
    return line


def read_part(connection: socket.socket) -> bytes:
    """What has come of the first line."""
    waiting = connection.recv(_LONGEST_LINE, socket.MSG_PEEK)
    return connection.recv(waiting.find(b"\n") + 1 or len(waiting)) if waiting else b""


def is_whole(line: bytes) -> bool:
    """Whether no more of it is to be read."""
    return line.endswith(b"\n") or len(line) >= _LONGEST_LINE


def _in_short(error: PrimusError) -> str:
    text = str(error)
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + " …"

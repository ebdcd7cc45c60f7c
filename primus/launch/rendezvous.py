"""Makes one job of the launchers on several nodes before any worker starts: every node is there once and trains the
same, all take one run directory, and they stay in touch. `primus train` calls it."""

from __future__ import annotations

import json
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from primus.errors import MissingError, PrimusError, ServiceError, UsageError
from primus.job import Resources
from primus.launch.address import listen
from primus.launch.attempt import Agreed
from primus.launch.link import Link
from primus.run import RUN_ID

_PATIENCE = 5.0
"""Seconds before the user is told who is being waited for; also the time for one message."""

_REFUSAL = 5.0
"""Seconds in which a node tells the others that it can't begin."""

_ERRORS: dict[int, type[PrimusError]] = {kind.status: kind for kind in (UsageError, MissingError, ServiceError)}
"""What a node may refuse with."""

_POLL = 0.2
"""Seconds between two attempts to reach node 0."""

_LONGEST_LINE = 1 << 16

_LONGEST_REASON = 10_000
"""Characters of an error that the other nodes are told; as JSON each may take six bytes of a line."""

_SPARE_FILES = 256
"""Open files of a launcher besides one connection to each node."""

_LATER = 30.0
"""Seconds that node 0 may begin to wait after another node, where it is to go on without those that do not come."""

_CLOCKS_APART = 5.0
"""Seconds that a node's clock may differ before the user is warned; what brings it to us takes part of them."""


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


def agree(
    resources: Resources, *, digest: str, decide: Callable[[], Agreed], timeout: float, incomplete: bool = False
) -> tuple[Agreed, Link]:
    """Meet the launchers of the other nodes, and return what node 0 decides as soon as all are there, with the
    connections to them. With `incomplete`, those that have come go on without the others when the time is up."""
    me = _this_node(resources, digest=digest)
    deadline = time.monotonic() + timeout
    if me.rank == 0:
        assert resources.master_port is not None
        return _gather(me, resources.master_port, decide, deadline, incomplete=incomplete)
    waits = deadline + _LATER if incomplete else deadline  # node 0 may have begun to wait later
    return _join(me, (resources.master_addr or "", resources.master_port or 0), waits)


@contextmanager
def refusal_told(resources: Resources) -> Iterator[None]:
    """Tell node 0, and through it the others, what went wrong in here, so that nobody waits for this node."""
    try:
        yield
    except PrimusError as error:
        if resources.nnodes > 1 and resources.master_port is not None:
            if resources.node_rank == 0:
                answer = _told(error, before="node 0 can't begin: ")
                _refuse(resources.master_port, resources.nnodes - 1, answer)
            elif resources.master_addr is not None:
                me = _this_node(resources, refusal=_in_short(error), status=int(error.status))
                _tell(me, (resources.master_addr, resources.master_port))
        raise


def _this_node(resources: Resources, *, digest: str = "", refusal: str = "", status: int = 0) -> Node:
    return Node(
        rank=resources.node_rank,
        nnodes=resources.nnodes,
        nproc_per_node=resources.nproc_per_node,
        host=socket.gethostname(),
        digest=digest,
        refusal=refusal,
        status=status,
    )


def _told(error: PrimusError, before: str = "") -> dict[str, Any]:
    return {"error": before + _in_short(error), "status": error.status}


def _in_short(error: PrimusError) -> str:
    text = str(error)
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + " …"


def _tell(me: Node, address: tuple[str, int]) -> None:
    """Report to node 0 if it can be reached within a short time."""
    print(f"Node {me.rank} can't begin; telling node 0.", file=sys.stderr, flush=True)
    with suppress(PrimusError, OSError), _connect(address, time.monotonic() + _REFUSAL) as connection:
        _report(me, connection)


def _report(me: Node, connection: socket.socket) -> None:
    connection.sendall(json.dumps(asdict(replace(me, clock=time.time()))).encode() + b"\n")


def _refuse(port: int, others: int, answer: dict[str, Any]) -> None:
    """As node 0, before it has met anybody."""
    with suppress(PrimusError, OSError), listen(port, backlog=others) as server:
        _refuse_those_to_come(server, others, answer, time.monotonic() + _REFUSAL)


def _refuse_those_to_come(server: socket.socket, count: int, answer: dict[str, Any], deadline: float) -> None:
    """Answer so many nodes, or those that come in time."""
    if count > 0:
        print("Node 0 can't begin; telling the other nodes.", file=sys.stderr, flush=True)
    while count > 0:
        server.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            connection = server.accept()[0]
        except TimeoutError:
            return
        with connection:
            if _read_node(connection) is not None:
                count -= 1
                with suppress(ServiceError):  # it has gone again
                    _answer([connection], answer)


def _gather(
    me: Node, port: int, decide: Callable[[], Agreed], deadline: float, *, incomplete: bool
) -> tuple[Agreed, Link]:
    """As node 0: wait for every other node, compare, and answer all."""
    connections: list[socket.socket] = []
    by_node: dict[int, socket.socket] = {}
    _allow_files(me.nnodes + _SPARE_FILES)
    with listen(port, backlog=me.nnodes) as server:
        try:
            _await_others(me, server, connections, by_node, deadline, incomplete=incomplete)
            agreed = decide()
        except PrimusError as error:
            answer = _answer_error(connections, error)
            still_out = me.nnodes - 1 - len(connections)
            _refuse_those_to_come(server, still_out, answer, min(time.monotonic() + _REFUSAL, deadline))
            raise
    for place, connection in enumerate(connections):
        try:
            _answer([connection], asdict(agreed))
        except ServiceError as error:
            for told in connections[:place]:  # they begin, and see that we are gone; a second answer is no message
                told.close()
            _answer_error(connections[place:], error)
            raise
    return agreed, Link(by_node)


def _answer_error(connections: list[socket.socket], error: PrimusError) -> dict[str, Any]:
    """End these connections with what went wrong, and return what they were told."""
    answer = _told(error)
    for connection in connections:
        with suppress(ServiceError), connection:  # it has gone again
            _answer([connection], answer)
    return answer


def _await_others(
    me: Node,
    server: socket.socket,
    connections: list[socket.socket],
    by_node: dict[int, socket.socket],
    deadline: float,
    *,
    incomplete: bool,
) -> None:
    """Wait for every other node and compare it; `connections` gets all that came, `by_node` those to go on with."""
    nodes = {0: me}
    while len(nodes) < me.nnodes:
        try:
            connection = _accept(server, set(range(me.nnodes)) - nodes.keys(), deadline)
        except ServiceError:
            if not incomplete:
                raise
            break
        node = _read_node(connection)
        if node is None:  # a port scanner, a health check
            connection.close()
            continue
        connections.append(connection)
        if node.refusal:
            _do_without(node, incomplete=incomplete)
            connections.remove(connection)
            connection.close()
            continue
        _forget_lost(connections, nodes, by_node, [node.rank])  # it was started again
        problem = _difference(me, node, nodes)
        if problem:
            raise UsageError(problem)
        _compare_clocks(node)
        nodes[node.rank], by_node[node.rank] = node, connection
        if len(nodes) == me.nnodes:
            _forget_lost(connections, nodes, by_node, list(by_node))


def _do_without(node: Node, *, incomplete: bool) -> None:
    """Say why a node can't take part: an error, unless those that come may go on without it."""
    text = f"node {node.rank} ({node.host}) can't begin: {node.refusal}"
    if not incomplete:
        raise _ERRORS.get(node.status, ServiceError)(text)
    print(f"Warning: {text}", file=sys.stderr, flush=True)


def _forget_lost(
    connections: list[socket.socket], nodes: dict[int, Node], by_node: dict[int, socket.socket], ranks: list[int]
) -> None:
    """Take those of these nodes out that have closed their connection, to be waited for again."""
    for rank in ranks:
        connection = by_node.get(rank)
        if connection is not None and _is_closed(connection):
            connections.remove(by_node.pop(rank))
            connection.close()
            print(f"Node {rank} ({nodes.pop(rank).host}) has gone again", file=sys.stderr, flush=True)


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(_PATIENCE)


def _join(me: Node, address: tuple[str, int], deadline: float) -> tuple[Agreed, Link]:
    """As any other node: report to node 0 and wait for its answer."""
    connection, line = _ask(me, address, deadline, deadline)
    soon = min(deadline, time.monotonic() + _REFUSAL)
    while not line and time.monotonic() < soon:  # it has gone, or was only seeing whether it can be reached there
        connection.close()
        time.sleep(_POLL)
        with suppress(ServiceError):
            connection, line = _ask(me, address, soon, deadline)
    answer = _understood(line, address)
    if "error" in answer:
        raise _ERRORS.get(answer["status"], ServiceError)(answer["error"])
    if not RUN_ID.fullmatch(str(answer.get("run_id", ""))):
        raise ServiceError(f"node 0 at {address[0]}:{address[1]} went away before all nodes had come; see its output")
    return Agreed(run_id=answer["run_id"], attempt=int(answer["attempt"])), Link({0: connection})


def _ask(me: Node, address: tuple[str, int], reached: float, deadline: float) -> tuple[socket.socket, str]:
    """The connection to node 0, which has to be there by `reached`, and its answer; empty where it goes without one."""
    connection = _connect(address, reached)
    with suppress(OSError):  # reset, or no answer in time
        _report(me, connection)
        connection.settimeout(max(1.0, deadline - time.monotonic()))
        return connection, _read_line(connection)
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


def _allow_files(count: int) -> None:
    """Raise the limit of open files, as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _difference(me: Node, node: Node, nodes: dict[int, Node]) -> str | None:
    """Why a node can't take part, or None."""
    other = nodes.get(node.rank)
    if other is not None:
        return f"two nodes have --node-rank {node.rank}: {other.host} and {node.host}"
    if node.nnodes != me.nnodes or not 0 < node.rank < me.nnodes:
        return f"{me.host} was given --nnodes {me.nnodes}, but {node.host} --nnodes {node.nnodes}"
    if node.nproc_per_node != me.nproc_per_node:
        return (
            f"{me.host} has {me.nproc_per_node} processes, but {node.host} {node.nproc_per_node}; every node needs as "
            "many: see --nproc-per-node"
        )
    if node.digest != me.digest:
        return (
            f"{me.host} and {node.host} would train different things: compare the experiment files, the --set options, "
            "the environment and the version of Primus on both (`primus config show`)"
        )
    return None


def _compare_clocks(node: Node) -> None:
    ahead = node.clock - time.time()
    if abs(ahead) > _CLOCKS_APART:
        print(
            f"Warning: the clock of {node.host} (node {node.rank}) is {abs(ahead):.0f} s "
            f"{'ahead of' if ahead > 0 else 'behind'} the one here: which of two nodes failed first can't be told from "
            "their times. Let the nodes' clocks be set by NTP.",
            file=sys.stderr,
        )


def _accept(server: socket.socket, missing: set[int], deadline: float) -> socket.socket:
    told = False
    while True:
        server.settimeout(max(0.01, min(_PATIENCE, deadline - time.monotonic())))
        try:
            return server.accept()[0]
        except TimeoutError:
            names = ", ".join(str(rank) for rank in sorted(missing)[:10]) + (", …" if len(missing) > 10 else "")
            if time.monotonic() >= deadline:
                raise ServiceError(
                    f"node {names} did not come. Check that `primus train` runs there with the same --master-addr and "
                    "--master-port, and that it can reach this machine."
                ) from None
            if not told:
                told = True
                print(f"Waiting for node {names}", file=sys.stderr, flush=True)


def _connect(address: tuple[str, int], deadline: float) -> socket.socket:
    told = False
    while True:
        try:
            return socket.create_connection(address, timeout=_PATIENCE)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise ServiceError(f"node 0 can't be reached at {address[0]}:{address[1]}: {error}") from None
            if not told:
                told = True
                print(f"Waiting for node 0 at {address[0]}:{address[1]}", file=sys.stderr, flush=True)
        time.sleep(_POLL)


def _read_node(connection: socket.socket) -> Node | None:
    connection.settimeout(_PATIENCE)
    try:
        fields = json.loads(_read_line(connection))
        return Node(**fields)
    except (ValueError, TypeError, OSError):
        return None


def _read_line(connection: socket.socket) -> str:
    """The first line; what follows it stays to be read."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
        waiting = connection.recv(_LONGEST_LINE, socket.MSG_PEEK)
        if not waiting:
            break
        line += connection.recv(waiting.find(b"\n") + 1 or len(waiting))
    return line.decode(errors="replace")


def _answer(connections: list[socket.socket], answer: dict[str, Any]) -> None:
    """Tell all nodes. The connections stay; the port is free for the store all the same, since nobody listens there."""
    text = json.dumps(answer).encode() + b"\n"
    try:
        for connection in connections:
            connection.sendall(text)
    except OSError as error:
        raise ServiceError(f"a node went away before training could start: {error}") from None

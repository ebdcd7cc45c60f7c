"""Makes one job of the launchers on several nodes before any worker starts: the address is checked, every node is there
once and trains the same, and all take one run directory. `primus train` calls it."""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from primus.errors import MissingError, ServiceError, UsageError
from primus.job import Resources
from primus.run import RUN_ID

TIMEOUT = 600.0
"""Seconds that the nodes wait for each other, as long as torchrun does by default."""

_PATIENCE = 5.0
"""Seconds before the user is told who is being waited for; also the time for one message."""


_CLOCKS_APART = 5.0
"""Seconds that a node's clock may differ before the user is warned. The message that brings it may take part of that."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """What all nodes take from node 0."""

    run_id: str
    attempt: int = 1


def check_address(resources: Resources) -> str | None:
    """The numeric address of node 0, or None where none was given. An error at once for an address or a port that can't
    serve as the meeting point."""
    address, port = resources.master_addr, resources.master_port
    found = [] if address is None else _resolve(address, port)
    if address is not None and resources.nnodes == 1:
        if not _is_own(found[0]):
            raise UsageError(f"--master-addr {address}: not an address of this machine, the only node")
    elif address is not None:
        _refuse_loopback(address, found)
    if port is not None and resources.node_rank == 0:
        with _listen(port, backlog=1) as server:
            if address is not None and resources.nnodes > 1 and not any(map(_is_own, found)):
                _require_way_back(server, address, port)
    elif address is not None:
        _require_route(address, found)
    return found[0] if found else None


def agree(resources: Resources, *, digest: str, decide: Callable[[], Agreed], timeout: float = TIMEOUT) -> Agreed:
    """Meet the launchers of the other nodes, and return what node 0 decides as soon as all are there."""
    me = Node(
        rank=resources.node_rank,
        nnodes=resources.nnodes,
        nproc_per_node=resources.nproc_per_node,
        host=socket.gethostname(),
        digest=digest,
    )
    deadline = time.monotonic() + timeout
    if me.rank == 0:
        assert resources.master_port is not None
        return _gather(me, resources.master_port, decide, deadline)
    return _join(me, (resources.master_addr or "", resources.master_port or 0), deadline)


def _gather(me: Node, port: int, decide: Callable[[], Agreed], deadline: float) -> Agreed:
    """As node 0: wait for every other node, compare, and answer all."""
    connections: list[socket.socket] = []
    nodes = {0: me}
    try:
        with _listen(port, backlog=me.nnodes) as server:
            while len(nodes) < me.nnodes:
                connection = _accept(server, set(range(me.nnodes)) - nodes.keys(), deadline)
                node = _read_node(connection)
                if node is None:  # a port scanner, a health check
                    connection.close()
                    continue
                connections.append(connection)
                problem = _difference(me, node, nodes)
                if problem:
                    _answer(connections, {"error": problem})
                    raise UsageError(problem)
                _compare_clocks(node)
                nodes[node.rank] = node
        agreed = decide()
        _answer(connections, asdict(agreed))
        return agreed
    finally:
        for connection in connections:
            connection.close()


def _join(me: Node, address: tuple[str, int], deadline: float) -> Agreed:
    """As any other node: report to node 0 and wait for its answer."""
    with _connect(address, deadline) as connection:
        connection.sendall(json.dumps(asdict(replace(me, clock=time.time()))).encode() + b"\n")
        connection.settimeout(max(1.0, deadline - time.monotonic()))
        answer = json.loads(_read_line(connection) or "{}")
    if "error" in answer:
        raise UsageError(answer["error"])
    if not RUN_ID.fullmatch(str(answer.get("run_id", ""))):
        raise ServiceError(f"node 0 at {address[0]}:{address[1]} went away before all nodes had come; see its output")
    return Agreed(run_id=answer["run_id"], attempt=int(answer["attempt"]))


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
        time.sleep(0.2)


def _read_node(connection: socket.socket) -> Node | None:
    connection.settimeout(_PATIENCE)
    try:
        fields = json.loads(_read_line(connection))
        return Node(**fields)
    except (ValueError, TypeError, OSError):
        return None


def _read_line(connection: socket.socket) -> str:
    with connection.makefile("r", encoding="utf-8") as stream:
        return stream.readline(1 << 16)


def _answer(connections: list[socket.socket], answer: dict[str, Any]) -> None:
    """Tell all nodes, and wait until each has closed its end: then the port is free for torchrun at once."""
    text = json.dumps(answer).encode() + b"\n"
    try:
        for connection in connections:
            connection.sendall(text)
        for connection in connections:
            connection.recv(1)
    except OSError as error:
        raise ServiceError(f"a node went away before training could start: {error}") from None


def _resolve(address: str, port: int | None) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)]
    except (socket.gaierror, UnicodeError) as error:
        raise MissingError(f"--master-addr {address}: this name has no address here ({error})") from None


def _refuse_loopback(address: str, found: list[str]) -> None:
    """Each node would wait for itself. A written-out 127.0.0.2 is taken at its word: all nodes on this machine."""
    loopback = [each for each in found if ipaddress.ip_address(each.partition("%")[0]).is_loopback]
    if loopback and (loopback[0] in ("127.0.0.1", "::1") or loopback[0] != address):
        raise UsageError(
            f"--master-addr {address} means {loopback[0]} here, which is each node itself; give node 0's address in "
            "the network between the nodes"
        )


def _is_own(address: str) -> bool:
    """Whether an address belongs to this machine: then a socket can be bound to it."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False
    return True


def _require_way_back(server: socket.socket, address: str, port: int) -> None:
    """A foreign address is right only when it is forwarded to this machine, as that of a Kubernetes service is."""
    server.settimeout(_PATIENCE)
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE):
            server.accept()[0].close()
    except OSError:
        raise UsageError(
            f"--master-addr {address}: not an address of this machine, which is node 0, and no connection to it "
            "arrives here; is --node-rank right?"
        ) from None


def _require_route(address: str, found: list[str]) -> None:
    """Connecting a datagram socket sends nothing, but fails where no route leads."""
    for each in found:
        with socket.socket(_family(each), socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect((each, 9))
            return
    raise MissingError(f"--master-addr {address}: this machine has no route to {found[0]}")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _listen(port: int, *, backlog: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=both)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise MissingError(f"--master-port {port}: another process of this machine uses it; take another") from None
        if error.errno == errno.EACCES:
            raise MissingError(f"--master-port {port}: only root may use it; take one above 1023") from None
        raise

"""Node 0's part of the rendezvous: it waits for every other node, compares it with itself, and answers all. Whoever
can't take part is told why. rendezvous.py calls it."""

from __future__ import annotations

import json
import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any

from primus.errors import PrimusError, ServiceError, UsageError
from primus.launch.address import listen
from primus.launch.arrivals import Arrivals
from primus.launch.attempt import Agreed
from primus.launch.introduction import PATIENCE, REFUSAL, Node, refusal_answer
from primus.launch.link import Link

_SPARE_FILES = 512
"""Open files of a launcher besides one connection to each node; strangers have some of them."""

_CLOCKS_APART = 5.0
"""Seconds that a node's clock may differ before the user is warned; what brings it to us takes part of them."""


def gather(
    me: Node, port: int, decide: Callable[[], Agreed], deadline: float, *, incomplete: bool
) -> tuple[Agreed, Link]:
    """Wait for every other node, compare, and answer all with what `decide` returns; with the connections to them."""
    _allow_files(me.nnodes + _SPARE_FILES)
    meeting = _Meeting(me, incomplete=incomplete)
    with listen(port, backlog=me.nnodes) as server, closing(Arrivals(server, me.nnodes)) as arrivals:
        try:
            meeting.wait(arrivals, deadline)
            agreed = decide()
        except PrimusError as error:
            answer = refusal_answer(error)
            _answer_each(meeting.connections, answer)
            still_out = me.nnodes - 1 - len(meeting.connections)
            _refuse_those_to_come(arrivals, still_out, answer, min(time.monotonic() + REFUSAL, deadline))
            raise
    _tell_all(meeting, {**asdict(agreed), "host": me.host})
    return agreed, Link(meeting.by_node, meeting.hosts)


def refuse(port: int, nnodes: int, answer: dict[str, Any]) -> None:
    """Tell the others that node 0 can't begin, before it has met anybody."""
    with (
        suppress(PrimusError, OSError),
        listen(port, backlog=nnodes) as server,
        closing(Arrivals(server, nnodes)) as arrivals,
    ):
        _refuse_those_to_come(arrivals, nnodes - 1, answer, time.monotonic() + REFUSAL)


class _Meeting:
    """Who has come so far."""

    def __init__(self, me: Node, *, incomplete: bool) -> None:
        self._me, self._incomplete = me, incomplete
        self._nodes = {0: me}
        self.connections: list[socket.socket] = []
        """To all that came."""

        self.by_node: dict[int, socket.socket] = {}
        """To those to go on with."""

    @property
    def hosts(self) -> dict[int, str]:
        return {rank: node.host for rank, node in self._nodes.items()}

    def wait(self, arrivals: Arrivals, deadline: float) -> None:
        told = False
        while len(self._nodes) < self._me.nnodes:
            arrival = arrivals.next(min(deadline, time.monotonic() + PATIENCE))
            if arrival is not None:
                told = False
                self._add(*arrival)
            elif time.monotonic() >= deadline:
                if self._incomplete:
                    return
                raise ServiceError(
                    f"node {self._missing()} did not come. Check that `primus train` runs there with the same "
                    "--master-addr and --master-port, and that it can reach this machine."
                )
            elif not told:
                told = True
                print(f"Waiting for node {self._missing()}", file=sys.stderr, flush=True)

    def _add(self, node: Node, connection: socket.socket) -> None:
        if node.refusal:
            self._do_without(node, connection)
            return
        self.connections.append(connection)
        self._forget_lost([node.rank])  # it was started again
        problem = _difference(self._me, node, self._nodes)
        if problem:
            raise UsageError(problem)
        _compare_clocks(node)
        self._nodes[node.rank], self.by_node[node.rank] = node, connection
        if len(self._nodes) == self._me.nnodes:
            self._forget_lost(list(self.by_node))

    def _do_without(self, node: Node, connection: socket.socket) -> None:
        """Say why a node can't take part: an error, unless those that come may go on without it."""
        if not self._incomplete:
            self.connections.append(connection)  # it waits for its turn to leave
            raise node.problem()
        _answer_each([connection], refusal_answer(node.problem()))
        print(f"Warning: {node.problem()}", file=sys.stderr, flush=True)

    def _forget_lost(self, ranks: list[int]) -> None:
        """Take those of these nodes out that have closed their connection, to be waited for again."""
        for rank in ranks:
            connection = self.by_node.get(rank)
            if connection is not None and _is_closed(connection):
                self.connections.remove(self.by_node.pop(rank))
                connection.close()
                print(f"Node {rank} ({self._nodes.pop(rank).host}) has gone again", file=sys.stderr, flush=True)

    def _missing(self) -> str:
        missing = sorted(set(range(self._me.nnodes)) - self._nodes.keys())
        return ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")


def _tell_all(meeting: _Meeting, answer: dict[str, Any]) -> None:
    """The connections stay; the port is free for the store all the same, since nobody listens there."""
    connections = list(meeting.by_node.values())
    for place, (rank, connection) in enumerate(meeting.by_node.items()):
        try:
            _answer(connection, answer)
        except OSError as error:
            lost = ServiceError(f"node {rank} ({meeting.hosts[rank]}) went away before training could start: {error}")
            for told in connections[:place]:  # they begin, and see that we are gone; a second answer is no message
                told.close()
            _answer_each(connections[place:], refusal_answer(lost))
            raise lost from None


def _refuse_those_to_come(arrivals: Arrivals, count: int, answer: dict[str, Any], deadline: float) -> None:
    """Answer so many nodes, or those that come in time."""
    if count > 0:
        print("Node 0 can't begin; telling the other nodes.", file=sys.stderr, flush=True)
    while count > 0:
        arrival = arrivals.next(deadline)
        if arrival is None:
            return
        count -= 1
        _answer_each([arrival[1]], answer)


def _answer_each(connections: list[socket.socket], answer: dict[str, Any]) -> None:
    """End these connections with what went wrong."""
    for connection in connections:
        with suppress(OSError), connection:  # it has gone again
            _answer(connection, answer)


def _answer(connection: socket.socket, answer: dict[str, Any]) -> None:
    connection.sendall(json.dumps(answer).encode() + b"\n")


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(PATIENCE)


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


def _allow_files(count: int) -> None:
    """Raise the limit of open files, as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

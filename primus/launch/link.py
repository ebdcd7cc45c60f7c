"""Keeps the launchers of a job's nodes in touch while they run: lines of JSON over the connections on which they met.
Node 0 has one to every other node, which has one to node 0. rendezvous.py makes it, guard.py talks over it."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SEND_PATIENCE = 5.0
"""Seconds in which the other side takes a message; its buffer is never full while it lives."""

_ALIVE = ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 4))
"""A machine that went away without a word is noticed after a minute."""

LOST = "lost"
"""Kind of the last message from a node, made up here: its connection has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What a launcher says to another one."""

    node: int
    """Where it comes from."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Link:
    """The connections of one launcher, by node."""

    def __init__(self, connections: Mapping[int, socket.socket], hosts: Mapping[int, str] | None = None) -> None:
        self._hosts = hosts or {}
        self._connections = dict(connections)
        self._rest = dict.fromkeys(connections, b"")
        self._lost: list[int] = []
        self._selector = selectors.DefaultSelector()
        for node, connection in connections.items():
            connection.settimeout(_SEND_PATIENCE)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _ALIVE:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
            self._selector.register(connection, selectors.EVENT_READ, node)

    @property
    def nodes(self) -> frozenset[int]:
        """Nodes that are there."""
        return frozenset(self._connections)

    def name(self, node: int) -> str:
        """`node 7 (gpu-host-12)`, as far as that is known."""
        return f"node {node} ({self._hosts[node]})" if node in self._hosts else f"node {node}"

    def send(self, kind: str, /, **data: Any) -> None:
        """Tell every other node of this link."""
        line = json.dumps({"kind": kind, "data": data}).encode() + b"\n"
        for node, connection in list(self._connections.items()):
            try:
                connection.sendall(line)
            except OSError:
                self._lose(node)

    def receive(self, seconds: float = 0.0) -> list[Message]:
        """What has come since the last call; waits up to so long for the first message."""
        ready = self._selector.select(seconds if not self._lost else 0.0) if self._connections else []
        messages = [message for key, _ in ready for message in self._read(key.data)]
        messages += [Message(node=node, kind=LOST) for node in self._lost]
        self._lost.clear()
        return messages

    def close(self) -> None:
        for node in list(self._connections):
            self._lose(node)
        self._lost.clear()
        self._selector.close()

    def _read(self, node: int) -> list[Message]:
        try:
            data = self._connections[node].recv(1 << 16)
        except OSError:  # reset, or not heard of for too long
            data = b""
        if not data:
            self._lose(node)
            return []
        *lines, self._rest[node] = (self._rest[node] + data).split(b"\n")
        return [Message(node=node, **json.loads(line)) for line in lines]

    def _lose(self, node: int) -> None:
        connection = self._connections.pop(node)
        self._selector.unregister(connection)
        connection.close()
        self._lost.append(node)

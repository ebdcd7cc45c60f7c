"""Those who come to the port where node 0 waits: the launchers of other nodes, each as soon as it has said who it is,
and strangers, who hold nobody up. gather.py asks for the next one."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections import deque
from contextlib import suppress

from primus.errors import MissingError
from primus.launch.introduction import PATIENCE, Node, is_whole, read_node, read_part

_MOST_STRANGERS = 128
"""Connections without a word that are kept besides one of each node; of more, the oldest is closed."""


class Arrivals:
    """At a listening socket."""

    def __init__(self, server: socket.socket, nnodes: int) -> None:
        self._server, self._most = server, nnodes + _MOST_STRANGERS
        self._said: dict[socket.socket, tuple[bytes, float]] = {}
        """What each connection has said so far, and until when it may; the oldest first."""

        self._arrived: deque[tuple[Node, socket.socket]] = deque()
        self._selector = selectors.DefaultSelector()
        server.setblocking(False)
        self._selector.register(server, selectors.EVENT_READ)

    def next(self, deadline: float) -> tuple[Node, socket.socket] | None:
        """The next node and the connection to it; None when nobody has come in time."""
        while not self._arrived:
            self._close_silent()
            _, oldest = next(iter(self._said.values()), (b"", deadline))
            ready = self._selector.select(max(0.0, min(oldest, deadline) - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                return None
            for key, _ in ready:
                if key.fileobj is self._server:
                    self._accept()
                else:
                    self._hear(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered
        return self._arrived.popleft()

    def close(self) -> None:
        """Close what nobody has taken."""
        for connection in [*self._said, *(connection for _, connection in self._arrived)]:
            connection.close()
        self._selector.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._server.accept()[0]
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # it has gone again
                continue
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                raise MissingError("too many open files for a connection to each node; raise `ulimit -n`") from None
            connection.setblocking(False)
            self._said[connection] = b"", time.monotonic() + PATIENCE
            self._selector.register(connection, selectors.EVENT_READ)
            if len(self._said) > self._most:
                self._forget(next(iter(self._said))).close()

    def _hear(self, connection: socket.socket) -> None:
        if connection not in self._said:  # closed meanwhile
            return
        said, until = self._said[connection]
        part = b""
        with suppress(OSError):  # reset
            part = read_part(connection)
        self._said[connection] = said + part, until
        if part and not is_whole(said + part):
            return
        self._forget(connection)
        node = read_node(said + part)
        if node is None:  # a port scanner, a health check
            connection.close()
        else:
            connection.settimeout(PATIENCE)
            self._arrived.append((node, connection))

    def _close_silent(self) -> None:
        now = time.monotonic()
        for connection in [each for each, (_, until) in self._said.items() if until <= now]:
            self._forget(connection).close()

    def _forget(self, connection: socket.socket) -> socket.socket:
        self._selector.unregister(connection)
        del self._said[connection]
        return connection

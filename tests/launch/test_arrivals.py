"""Who comes to node 0: launchers and strangers, over real sockets."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from contextlib import closing
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from primus.errors import MissingError
from primus.launch import arrivals
from primus.launch.arrivals import Arrivals
from primus.launch.introduction import Node, read_line, report

ONE = Node(rank=1, nnodes=2, nproc_per_node=8, host="a", digest="same")
FOREVER = time.monotonic() + 10_000


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """However long a node takes to speak."""
    monkeypatch.setattr(arrivals, "PATIENCE", 1000.0)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server


@pytest.fixture
def come(server):
    """Connects, and leaves the connection open until the end of the test."""
    connections = []

    def connect(words=b""):
        connections.append(socket.create_connection(server.getsockname(), timeout=60))
        connections[-1].sendall(words)
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


@pytest.fixture
def arriving(server):
    with closing(Arrivals(server, nnodes=2)) as arriving:
        yield arriving


def test_silent_strangers_hold_no_node_up(arriving, come):
    for words in (b"", b"{", b"GET / HTTP/1.1"):
        come(words)
    report(ONE, come())
    node, _ = arriving.next(FOREVER)
    assert (node.rank, node.host) == (1, "a")


def test_silent_strangers_do_not_stop_the_clock(arriving, come):
    come()
    assert arriving.next(time.monotonic() + 0.05) is None


def test_those_that_say_something_else_are_closed(arriving, come):
    stranger, going = come(b"hello\n"), come()
    going.shutdown(socket.SHUT_WR)
    report(ONE, come())
    assert arriving.next(FOREVER)[0].rank == 1
    assert stranger.recv(1) == going.recv(1) == b""


def test_a_line_may_come_in_parts(arriving, come):
    words = json.dumps(asdict(ONE)).encode() + b"\n"
    connection = come(words[:20])
    assert arriving.next(time.monotonic() + 0.05) is None
    connection.sendall(words[20:])
    assert arriving.next(FOREVER)[0].rank == 1


def test_what_follows_the_first_line_stays_to_be_read(arriving, come):
    come(json.dumps(asdict(ONE)).encode() + b"\nmore\n")
    assert read_line(arriving.next(FOREVER)[1]) == b"more\n"


def test_one_that_never_ends_its_line_is_closed(arriving, come, monkeypatch):
    stranger = come(b"{")
    assert arriving.next(time.monotonic() + 0.05) is None
    monkeypatch.setattr(arrivals, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 1001.0))
    report(ONE, come())
    arriving.next(FOREVER)
    assert stranger.recv(1) == b""


def test_of_too_many_strangers_the_first_is_closed(server, come, monkeypatch):
    monkeypatch.setattr(arrivals, "_MOST_STRANGERS", 1)
    with closing(Arrivals(server, nnodes=2)) as arriving:
        first, *_ = [come() for _ in range(4)]
        assert arriving.next(time.monotonic() + 0.05) is None
        assert first.recv(1) == b""
        report(ONE, come())
        assert arriving.next(FOREVER)[0].rank == 1


def test_nodes_that_nobody_has_asked_for_are_closed_at_the_end(server, come):
    with closing(Arrivals(server, nnodes=2)) as arriving:
        connections = [come(), come()]
        for connection in connections:
            report(ONE, connection)
        arriving.next(FOREVER)[1].close()
    for connection in connections:
        assert connection.recv(1) == b""


def test_a_limit_of_open_files_that_is_too_low_is_said(arriving, come):
    come()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(MissingError, match="ulimit -n"):
            arriving.next(FOREVER)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

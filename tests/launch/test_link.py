"""Launchers that talk over real connections."""

from __future__ import annotations

import socket

import pytest

from primus.launch.link import LOST, Link, Message


@pytest.fixture
def links():
    """Node 0's link to two nodes, and theirs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        others = {node: socket.create_connection(server.getsockname()) for node in (1, 2)}
        accepted = {node: server.accept()[0] for node in (1, 2)}
    made = [Link(accepted), *(Link({0: connection}) for connection in others.values())]
    yield made
    for link in made:
        link.close()


def received(link, count=1):
    found = []
    while len(found) < count:
        found += link.receive(5.0)
    return sorted(found, key=lambda message: message.node)


def test_node_0_reaches_all_and_they_reach_node_0(links):
    links[0].send("end", cause="x", kind="failed")
    for other in links[1:]:
        assert received(other) == [Message(node=0, kind="end", data={"cause": "x", "kind": "failed"})]
    links[1].send("stalled")
    links[2].send("stalled")
    assert received(links[0], 2) == [Message(node=1, kind="stalled"), Message(node=2, kind="stalled")]


def test_messages_come_whole_and_in_order(links):
    links[1].send("standings", stack="x" * 200_000)
    links[1].send("ended")
    assert [message.kind for message in received(links[0], 2)] == ["standings", "ended"]


def test_a_node_that_goes_away_is_told_once_after_its_last_words(links):
    links[1].send("ended")
    links[1].close()
    assert [message.kind for message in received(links[0], 2)] == ["ended", LOST]
    assert links[0].nodes == {2}
    assert links[0].receive() == []


def test_sending_to_a_node_that_is_gone_is_no_error(links):
    links[0].close()
    for _ in range(3):
        links[1].send("stalled")
    assert links[1].nodes == frozenset() or received(links[1])[0].kind == LOST


def test_nobody_to_talk_to_is_silence():
    alone = Link({})
    alone.send("end")
    assert alone.receive(0.0) == []
    alone.close()


def test_a_node_has_the_name_of_its_host_where_that_is_known():
    link = Link({}, {1: "gpu-host-12"})
    assert link.name(1) == "node 1 (gpu-host-12)"
    assert link.name(2) == "node 2"

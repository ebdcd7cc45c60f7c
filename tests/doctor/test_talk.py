from __future__ import annotations

import socket
import threading

import pytest

from primus.doctor.talk import answer_clocks, ask_clocks, await_kind, collect
from primus.errors import ServiceError
from primus.launch.link import Link


@pytest.fixture
def links():
    """Node 0's connections to two others, and theirs to it, over TCP."""
    server = socket.create_server(("127.0.0.1", 0))
    others = [socket.create_connection(server.getsockname()) for _ in range(2)]
    ours = {node: server.accept()[0] for node in (1, 2)}
    links = Link(ours), [Link({0: other}) for other in others]
    yield links
    links[0].close()
    for link in links[1]:
        link.close()
    server.close()


def test_the_clocks_of_one_machine_are_alike(links):
    zero, others = links
    threads = [threading.Thread(target=answer_clocks, args=(link, 10)) for link in others]
    for thread in threads:
        thread.start()
    clocks = ask_clocks(zero)
    for thread in threads:
        thread.join()
    assert clocks.keys() == {1, 2}
    assert all(abs(clock["seconds"]) <= clock["within"] + 0.05 for clock in clocks.values())


def test_a_node_that_says_nothing_is_left_out(links):
    zero, (first, _) = links
    first.send("host", facts={"a": 1})
    assert collect(zero, "host", 0.3) == {1: {"facts": {"a": 1}}}


def test_a_node_that_went_away_is_not_waited_for(links):
    zero, (first, second) = links
    first.send("host", facts={})
    second.close()
    assert collect(zero, "host", 60).keys() == {1}


def test_node_0_is_missed_by_the_others(links):
    zero, (first, second) = links
    zero.close()
    with pytest.raises(ServiceError, match="went away"):
        await_kind(first, "over", 60)
    with pytest.raises(ServiceError, match="went away"):
        answer_clocks(second, 60)


def test_words_of_the_launcher_are_passed_over(links):
    zero, (first, _) = links
    zero.send("verdict", state="failed")
    zero.send("over", exit_status=20)
    assert await_kind(first, "over", 60) == {"exit_status": 20}

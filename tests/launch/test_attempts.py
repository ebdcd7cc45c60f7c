"""One attempt after another: what the other nodes hear when a part can't begin."""

from __future__ import annotations

import os
import socket

import pytest

from primus.errors import MissingError
from primus.launch.attempt import Agreed
from primus.launch.attempts import Steps, run_attempts
from primus.launch.care import Care
from primus.launch.link import LOST, Link


@pytest.fixture
def links():
    """Those of node 0 and of node 1, to each other."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = socket.create_connection(server.getsockname())
        second = server.accept()[0]
    links = (Link({1: first}), Link({0: second}))
    yield links
    for link in links:
        link.close()


@pytest.mark.parametrize(
    ("node", "kind", "cause"), [(0, "end", "on node 0: no room"), (1, "ended", "no room")], ids=["node0", "node1"]
)
def test_what_keeps_a_part_from_beginning_after_the_nodes_have_met_is_told(links, node, kind, cause):
    def plan(agreed):
        raise MissingError("no room")

    steps = Steps(meet=lambda: (Agreed(run_id="run"), links[node]), plan=plan, newest_checkpoint=lambda: None)
    with pytest.raises(MissingError, match=r"^no room$"):
        run_attempts(steps, Care(), argv=["primus"], environ=os.environ)
    told, lost = [*links[1 - node].receive(60.0), *links[1 - node].receive(60.0)][:2]
    assert (told.kind, told.data["cause"], told.data["exit_status"]) == (kind, cause, 4)
    assert lost.kind == LOST

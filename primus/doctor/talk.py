"""What the nodes of an examination tell each other, over the connections on which their launchers met: clocks, facts of
the host part, results, the end. session.py leads it; between, the launcher uses the same connections."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from primus.errors import ServiceError
from primus.launch.link import LOST, Link, Message

_CLOCK_ROUNDS = 5
_CLOCK_SECONDS = 5.0
"""For all rounds; a node that does not answer has no clock, and is found silent later."""


def ask_clocks(link: Link) -> dict[int, dict[str, float]]:
    """As node 0: how far each node's clock is `seconds` ahead of ours, `within` half the time of the way there and
    back, of the fastest of a few rounds."""
    found: dict[int, dict[str, float]] = {}
    deadline = time.monotonic() + _CLOCK_SECONDS
    for _ in range(_CLOCK_ROUNDS):
        waiting, sent, begin = set(link.nodes), time.time(), time.monotonic()
        link.send("clock")
        while waiting and time.monotonic() < deadline:
            for message in link.receive(deadline - time.monotonic()):
                waiting.discard(message.node)
                if message.kind != "time":
                    continue
                half = (time.monotonic() - begin) / 2
                if half < found.get(message.node, {"within": float("inf")})["within"]:
                    ahead = float(message.data["now"]) - sent - half
                    found[message.node] = {"seconds": round(ahead, 6), "within": round(half, 6)}
    link.send("clocks known")
    return found


def answer_clocks(link: Link, seconds: float) -> None:
    """As any other node: answer until node 0 knows."""
    for message in _messages(link, time.monotonic() + seconds):
        if message.kind == "clock":
            link.send("time", now=time.time())
        elif message.kind == "clocks known":
            return


def collect(link: Link, kind: str, seconds: float) -> dict[int, Mapping[str, Any]]:
    """As node 0: what the other nodes say in a message of this kind, of those that do so in time."""
    found: dict[int, Mapping[str, Any]] = {}
    deadline = time.monotonic() + seconds
    while link.nodes - found.keys() and time.monotonic() < deadline:
        for message in link.receive(max(0.0, deadline - time.monotonic())):
            if message.kind == kind:
                found[message.node] = message.data
    return found


def await_kind(link: Link, kind: str, seconds: float) -> Mapping[str, Any]:
    """As any other node: what node 0 says in a message of this kind."""
    return next(message.data for message in _messages(link, time.monotonic() + seconds) if message.kind == kind)


def _messages(link: Link, deadline: float) -> Iterator[Message]:
    """What node 0 says, until the deadline; an error when it comes to that."""
    while time.monotonic() < deadline:
        for message in link.receive(max(0.0, deadline - time.monotonic())):
            if message.kind == LOST:
                raise ServiceError("node 0 went away; see its output")
            yield message
    raise ServiceError("node 0 does not answer any more; see its output")

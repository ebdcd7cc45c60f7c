"""How the launchers of all nodes come to one end of an attempt: each tells node 0 how its part ended, node 0 decides
what that means for the job, and all leave with the same exit status. attend.py calls it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from primus.errors import PrimusError
from primus.launch.guard import Guard
from primus.launch.link import LOST, Link
from primus.launch.record import Outcome
from primus.launch.supervise import Supervisor

_LAST_WORDS = 30.0
"""Seconds that a node gets beyond the grace of its workers to say how its part ended."""

_INTERVAL = 0.2

_FAILURES_TOLD = 4
"""Failures that a node sends to node 0."""


def hear_all(guard: Guard, link: Link, supervisor: Supervisor) -> None:
    """As node 0: wait until every other node has told its end, or the user waits no longer. When one has failed, none
    takes long."""
    deadline, requests = math.inf, supervisor.requests
    while link.nodes - guard.ended.keys() and time.monotonic() < deadline and supervisor.requests == requests:
        for message in link.receive(_INTERVAL):
            guard.hear(message)
        guard.look_elsewhere()
        if guard.end is not None:
            deadline = min(deadline, time.monotonic() + supervisor.grace + _LAST_WORDS)


def failures_elsewhere(guard: Guard) -> list[dict[str, Any]]:
    """Notes of failed workers on other nodes, whose disk may be another."""
    return [dict(failure) for data in guard.ended.values() for failure in data.get("failures", ())]


def tell(link: Link, outcome: Outcome, *, killed: bool, failures: Sequence[Mapping[str, Any]]) -> None:
    """As any other node: say how this part ended."""
    link.send(
        "ended",
        state=outcome.state,
        exit_status=outcome.exit_status,
        cause=outcome.cause,
        killed=killed,
        failures=list(failures[:_FAILURES_TOLD]),
    )


def tell_error(link: Link, error: PrimusError) -> None:
    """Say, as any node, what keeps the part here from beginning after all nodes have met."""
    status = int(error.status)
    if 0 in link.nodes:
        link.send("ended", state="failed", exit_status=status, cause=str(error), killed=False, failures=[])
    else:
        link.send("end", kind="failed", exit_status=status, cause=f"on node 0: {error}")


def decided(link: Link, outcome: Outcome, supervisor: Supervisor) -> Outcome:
    """As any other node: what node 0 makes of it. Its own end stands when node 0 is not there any more, or the user
    waits no longer."""
    requests = supervisor.requests
    while link.nodes and supervisor.requests == requests:
        for message in link.receive(_INTERVAL):
            if message.kind == LOST:
                return outcome
            if message.kind == "verdict":
                return replace(outcome, **message.data)
    return outcome


def decide(link: Link, outcome: Outcome) -> None:
    """As node 0: tell the others what becomes of the job."""
    link.send("verdict", state=outcome.state, exit_status=outcome.exit_status, cause=outcome.cause, again=outcome.again)

"""Looks after a job while its workers run: what the stall watch of this node sees, and what the launchers of the other
nodes say. Node 0 decides, and tells the others. attend.py calls look() again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from primus.errors import ExitStatus
from primus.job import Job
from primus.launch.care import Care
from primus.launch.link import LOST, Link, Message
from primus.launch.stall import STACKS_PATIENCE, Standing, Watch, cause_of, describe
from primus.launch.supervise import Supervisor

STALLED = 124
"""Exit status of a job that was ended since it got no further, as timeout(1) has it."""

_COLLECT = STACKS_PATIENCE + 3.0
"""Seconds that node 0 waits for the others: as long as they may wait for stacks, and the way of their answer."""

_AFTERMATH = 3.0
"""Seconds that the workers here get to say something after a failure on another node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """Why the launcher ended the workers of its node itself."""

    kind: Literal["stalled", "lost", "failed", "stopped"]
    """A node that went away is `lost`; `stopped` is one whose user killed its workers."""

    exit_status: int
    cause: str


class Guard:
    """Looks after the part of one node."""

    def __init__(self, job: Job, supervisor: Supervisor, care: Care, link: Link, note: Callable[[str], None]) -> None:
        """`note` shows a text on the terminal."""
        self._node = job.resources.node_rank
        self._supervisor, self._care, self._link, self._note = supervisor, care, link, note
        self._watch = Watch(job, care.stall_timeout, supervisor.tell)
        self._told, self._running = False, True
        self._give_up: float | None = None
        """When node 0 reports without the nodes that have not answered."""

        self._standings: dict[int, list[Standing]] = {}
        self.ended: dict[int, Mapping[str, Any]] = {}
        """What other nodes said of the end of their part; nothing for one that went away."""

        self.end: End | None = None

    def look(self) -> None:
        """See whether something is to be done."""
        standings = self._watch.look()
        for message in self._link.receive():
            self.hear(message)
        if self._supervisor.asked is not None or self.end is not None:
            return
        if standings is not None:
            self._take(self._node, standings)
        if self._watch.stalled and not self._told:
            self._told = True
            self._ask()
        elif self._told and not self._watch.stalled:
            self._told = False
            self._note("Training goes on.")
        if self._give_up is not None and self._is_known():
            self._report()

    def look_elsewhere(self) -> None:
        """As node 0, when the workers here have ended: see where those of the other nodes are, if one has asked."""
        self._running = False
        if self.end is None and self._give_up is not None and self._is_known():
            self._report()

    def hear(self, message: Message) -> None:
        """Act on what another launcher says."""
        if message.kind == LOST:
            self._lose(message.node)
        else:
            self._answers[message.kind](self, message.node, message.data)

    def _part_ended(self, node: int, data: Mapping[str, Any]) -> None:
        self.ended[node] = data
        if data["state"] == "failed" or data["killed"]:
            kind: Literal["failed", "stopped"] = "failed" if data["state"] == "failed" else "stopped"
            self.finish(End(kind=kind, exit_status=data["exit_status"], cause=f"on node {node}: {data['cause']}"))

    def _lose(self, node: int) -> None:
        if node not in self.ended:
            self.ended[node] = {}
            cause = f"{self._link.name(node)} went away: its launcher was killed, or the machine or the network failed"
            self.finish(End(kind="lost", exit_status=int(ExitStatus.SERVICE), cause=cause))

    def _told_to_end(self, node: int, data: Mapping[str, Any]) -> None:
        self.finish(End(**data))

    def finish(self, end: End, *, within: float = _AFTERMATH) -> None:
        """End the workers of the whole job, as far as this node can."""
        if self.end is not None:
            return
        self.end = end
        if self._node == 0:
            self._link.send("end", **asdict(end))
        self._supervisor.end_within(within)

    def _ask(self) -> None:
        """Begin to find out where all ranks of the job are."""
        if self._node != 0:
            self._note("No step for a while: node 0 shows where every rank is.")
            self._link.send("stalled")
        elif self._give_up is None:
            self._standings.clear()
            self._give_up = time.monotonic() + _COLLECT
            self._link.send("show")
            if self._running:
                self._watch.ask()

    def _take(self, node: int, standings: list[Standing]) -> None:
        self._standings[node] = standings
        if self._node != 0:
            self._link.send("standings", standings=[asdict(each) for each in standings])

    def _is_known(self) -> bool:
        assert self._give_up is not None
        return not self._unknown() or time.monotonic() > self._give_up

    def _unknown(self) -> list[int]:
        """Nodes with workers that have not said where those are."""
        here = {self._node} if self._running else set()
        return sorted((self._link.nodes | here) - self.ended.keys() - self._standings.keys())

    def _report(self) -> None:
        silent = self._unknown()
        standings = [each for node in sorted(self._standings) for each in self._standings[node]]
        self._give_up = None
        if not standings and not silent:  # whoever asked has ended meanwhile
            return
        self._note(describe(standings, silent=silent))
        if self._care.on_stall == "kill":
            self.finish(End(kind="stalled", exit_status=STALLED, cause=cause_of(standings, silent)), within=0.0)

    _answers: Mapping[str, Callable[[Guard, int, Mapping[str, Any]], None]] = {
        "ended": _part_ended,
        "end": _told_to_end,
        "stalled": lambda self, node, data: self._ask(),
        "show": lambda self, node, data: self._watch.ask(),
        "standings": lambda self, node, data: self._take(node, [Standing(**each) for each in data["standings"]]),
    }
    """What each kind of message brings about."""

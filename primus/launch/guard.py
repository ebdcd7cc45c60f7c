"""Looks after a job while its workers run: what the stall watch of this node sees, and what the launchers of the other
nodes say. Node 0 decides, and tells the others. local.py calls look() again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from primus.job import Job
from primus.launch.care import Care
from primus.launch.stall import Standing, Watch, cause_of, describe
from primus.launch.supervise import Supervisor

STALLED = 124
"""Exit status of a job that was ended since it got no further, as timeout(1) has it."""

_COLLECT = 10.0
"""Seconds that node 0 waits for the stacks of the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """Why the launcher ended the workers itself."""

    exit_status: int
    cause: str


class Guard:
    """Looks after the part of one node."""

    def __init__(self, job: Job, supervisor: Supervisor, care: Care, note: Callable[[str], None]) -> None:
        """`note` shows a text on the terminal."""
        self._supervisor, self._care, self._note = supervisor, care, note
        self._watch = Watch(job, care.stall_timeout, supervisor.tell)
        self._asked = False
        self.end: End | None = None

    def look(self) -> None:
        """See whether something is to be done."""
        standings = self._watch.look()
        if self._supervisor.asked is not None or self.end is not None:
            return
        if standings is not None:
            self._report(standings)
        if self._watch.stalled and not self._asked:
            self._asked = True
            self._watch.ask()
        elif self._asked and not self._watch.stalled:
            self._asked = False
            self._note("Training goes on.")

    def _report(self, standings: list[Standing]) -> None:
        self._note(describe(standings))
        if self._care.on_stall == "kill":
            self._finish(End(exit_status=STALLED, cause=cause_of(standings)))

    def _finish(self, end: End) -> None:
        self.end = end
        self._supervisor.end_within(0.0)

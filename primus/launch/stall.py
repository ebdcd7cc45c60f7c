"""Sees when the workers of a node get no further, and finds out where they are: from their heartbeats, what the kernel
says of them, and their Python stacks. guard.py asks it again and again."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from primus.backends.heartbeat import Heartbeat, read_heartbeat, write_interval
from primus.job import Job
from primus.launch.account import as_ranges
from primus.launch.stacks import Request, fold
from primus.launch.supervise import descendants
from primus.run import RunDirectory

SHORTEST = 300.0
"""Seconds; the patience where none was chosen is not below."""

STEPS = 10
"""Median steps that it allows."""

LONG_PHASE = 10
"""So many times as patient when a worker does something else than its steps: start-up, saving, evaluation."""

LONG_PHASE_SHORTEST = 1800.0

_INTERVAL = 0.25
"""Seconds between two looks at the heartbeats."""

STACKS_PATIENCE = 15.0
"""Seconds in which a process that can answer has written its stacks."""

_STATES = {
    "T": "stopped by a signal (kill -CONT lets it go on)",
    "t": "stopped by a debugger",
    "D": "waits in the kernel, for a disk or a device",
    "Z": "has ended",
}
"""States of /proc/PID/stat that say something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where one worker stands."""

    rank: int
    node: int
    host: str
    step: int | None
    phase: str
    seconds: float
    """Since it last got on."""

    note: str = ""
    stack: str = ""


class Watch:
    """Watches the workers of this node."""

    def __init__(self, job: Job, timeout: float | None, tell: Callable[[int], None]) -> None:
        """`timeout` is as the user gave it: None for the rule, 0 for never. `tell` sends the workers a signal."""
        run_dir, self._node = RunDirectory(job.run_dir), job.resources.node_rank
        count = job.resources.nproc_per_node
        ranks = range(self._node * count, (self._node + 1) * count)
        self._paths = {rank: run_dir.heartbeat_path(self._node, rank) for rank in ranks}
        self._stacks = {rank: run_dir.stacks_path(self._node, rank) for rank in ranks}
        self._timeout, self._tell = timeout, tell
        self._late = write_interval(job.resources.world_size)
        now = time.monotonic()
        self._beats: dict[int, Heartbeat] = {}
        self._since = dict.fromkeys(ranks, now)
        self._next_look = now
        self._request: Request | None = None
        self._give_up = 0.0
        self.stalled = False
        """Whether a worker is over its time."""

    def look(self) -> list[Standing] | None:
        """Look at the heartbeats when it is time; where everybody stands, as soon as that is known after ask()."""
        now = time.monotonic()
        if now < self._next_look:
            return None
        self._next_look = now + _INTERVAL
        self._read(now)
        self.stalled = self._timeout != 0 and any(
            now - since > self._patience(rank) + self._late for rank, since in self._since.items()
        )
        if self._request is None or not (self._request.is_complete() or now > self._give_up):
            return None
        request, self._request = self._request, None
        return self._standings(request.take(), now)

    def ask(self) -> None:
        """Begin to find out where everybody stands."""
        if self._request is None:
            self._request = Request(self._stacks, self._beats, self._tell)
            self._give_up = time.monotonic() + STACKS_PATIENCE

    def _read(self, now: float) -> None:
        for rank, path in self._paths.items():
            beat = read_heartbeat(path)
            if beat is not None and beat != self._beats.get(rank):
                self._beats[rank] = beat
                self._since[rank] = now

    def _patience(self, rank: int) -> float:
        beat = self._beats.get(rank)
        seconds = (beat.step_seconds if beat else None) or 0.0
        patience = max(SHORTEST, STEPS * seconds) if self._timeout is None else self._timeout
        if beat is not None and beat.phase == "training":
            return patience
        return max(LONG_PHASE_SHORTEST, LONG_PHASE * patience)

    def _standings(self, stacks: Mapping[int, str], now: float) -> list[Standing]:
        found = []
        for rank, since in self._since.items():
            beat = self._beats.get(rank)
            found.append(
                Standing(
                    rank=rank,
                    node=self._node,
                    host=socket.gethostname(),
                    step=beat.step if beat else None,
                    phase=beat.phase if beat else "starting",
                    seconds=round(now - since, 1),
                    stack=stacks.get(rank, ""),
                    note=_note(beat),
                )
            )
        return found


def holders(standings: Sequence[Standing]) -> list[int]:
    """The ranks that probably hold the others up: those that can't run, else those behind, else those that do something
    else than most. All ranks when they are alike."""
    stuck = [each.rank for each in standings if each.note]
    steps = [-1 if each.step is None else each.step for each in standings]
    behind = [each.rank for each, step in zip(standings, steps, strict=True) if step < max(steps)]
    groups = fold({each.rank: each.stack for each in standings})
    odd = [rank for ranks, _ in groups if 2 * len(ranks) < len(standings) for rank in ranks]
    return stuck or behind or sorted(odd) or [each.rank for each in standings]


def cause_of(standings: Sequence[Standing], silent: Sequence[int] = ()) -> str:
    """In one line, for status.json."""
    if not standings:
        return f"stalled: no answer from {_nodes(silent)}"
    step = max((each.step or 0 for each in standings), default=0)
    return f"stalled at step {step}: {_ranks(holders(standings))}"


def describe(standings: Sequence[Standing], silent: Sequence[int] = ()) -> str:
    """Every rank's last step, and all stacks, for the terminal; `silent` are nodes that did not answer."""
    lines = ["No step for a while."]
    if standings:
        longest = max(each.seconds for each in standings)
        lines = [f"No step for {longest:.0f} s. Probably held up by {_ranks(holders(standings))}."]
    alike: dict[str, list[Standing]] = {}
    for each in standings:
        alike.setdefault(f"{_where(each)}, {each.phase}{each.note and f', {each.note}'}", []).append(each)
    for what, group in alike.items():
        nodes = sorted({each.node for each in group})
        place = f"node {nodes[0]} ({group[0].host})" if len(nodes) == 1 else _nodes(nodes)
        seconds = max(each.seconds for each in group)
        lines.append(f"  {_ranks([each.rank for each in group])} on {place}: {what}, for {seconds:.0f} s")
    for ranks, stack in fold({each.rank: each.stack for each in standings}):
        lines += [f"Stack of {_ranks(ranks)}, innermost call first:", *(f"  {line}" for line in stack.splitlines())]
    without = [each.rank for each in standings if not each.stack]
    if without:
        lines.append(f"No stack of {_ranks(without)}: not able to answer.")
    if silent:
        lines.append(f"No answer from {_nodes(silent)}.")
    return "\n".join(lines)


def _where(each: Standing) -> str:
    return "no step yet" if each.step is None else f"step {each.step} done"


def _nodes(nodes: Sequence[int]) -> str:
    return f"node{'s' * (len(nodes) > 1)} {as_ranges(nodes)}"


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {as_ranges(ranks)}"


def _note(beat: Heartbeat | None) -> str:
    """What the kernel says of the process, when that is unusual."""
    if beat is None:
        return "its worker has not begun"
    if beat.pid not in descendants(os.getpid()):  # in a container, whose process ids are its own
        return ""
    return _STATES.get(_state(beat.pid), "")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""

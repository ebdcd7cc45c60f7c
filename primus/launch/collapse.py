"""Joins the logs of several ranks into one text: what several say alike stands there once, a traceback in one piece.
Pure; terminal.py uses it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from primus.launch.ranks import shown_ranks

DELAY = 0.2
"""Seconds that a line waits for the same line of the other ranks."""

_TRACEBACK = rb"Traceback \(most recent call last\):\n(?:[ \t][^\n]*\n)+[^\s][^\n]*\n"
_CHAINED = rb"\n(?:During handling of the above exception|The above exception was the direct cause)[^\n]*\n\n"
_BLOCK = re.compile(
    rb"%(traceback)s(?:%(chained)s%(traceback)s)*|[^\n]*\n(?:[ \t]+[^\n]*\n)*|[^\n]+\Z"
    % {b"traceback": _TRACEBACK, b"chained": _CHAINED}
)
"""A traceback with those that it followed from, or a line with the indented ones below it."""

_BEGUN = re.compile(rb"Traceback \(most recent call last\):\n(?:[ \t][^\n]*\n)*\Z")


@dataclass(slots=True)
class _Block:
    """Lines that stay together, and who said them."""

    lines: bytes
    ranks: list[int]
    number: int
    since: float


class Collapse:
    """Takes the lines of some ranks as they come, and gives them back in order, marked with their ranks."""

    def __init__(self, ranks: Iterable[int]) -> None:
        self._last = dict.fromkeys(ranks, 0)
        """Number of the newest block of each rank."""

        self._held: dict[int, tuple[bytes, float]] = {}
        """The beginning of a traceback, and when it came."""

        self._waiting: deque[_Block] = deque()
        self._same: dict[bytes, deque[_Block]] = {}
        self._count = 0

    def add(self, rank: int, lines: bytes, now: float) -> None:
        """Whole lines of a rank."""
        held, since = self._held.pop(rank, (b"", now))
        blocks = _BLOCK.findall(held + lines)
        if blocks and _BEGUN.fullmatch(blocks[-1]):
            self._held[rank] = (blocks.pop(), since)
        for block in blocks:
            self._add_block(rank, block, now)

    def take(self, now: float) -> bytes:
        """What all ranks have said, and what has waited long enough."""
        for rank, (lines, since) in list(self._held.items()):
            if now - since >= DELAY:
                del self._held[rank]
                self._add_block(rank, lines, since)
        ready = []
        while self._waiting:
            block = self._waiting[0]
            if len(block.ranks) < len(self._last) and now - block.since < DELAY:
                break
            ready.append(_marked(self._waiting.popleft()))
            same = self._same[block.lines]
            same.popleft()
            if not same:
                del self._same[block.lines]
        return b"".join(ready)

    def rest(self) -> bytes:
        """All that still waits, for the end."""
        return self.take(float("inf"))

    def _add_block(self, rank: int, lines: bytes, now: float) -> None:
        last = self._last[rank]
        same = self._same.get(lines)
        if same is not None:
            for block in same:
                if block.number > last:  # behind all that this rank has said before
                    block.ranks.append(rank)
                    self._last[rank] = block.number
                    return
        else:
            same = self._same[lines] = deque()
        self._count += 1
        block = _Block(lines, [rank], self._count, now)
        same.append(block)
        self._waiting.append(block)
        self._last[rank] = self._count


def _marked(block: _Block) -> bytes:
    mark = f"[{shown_ranks(tuple(sorted(block.ranks)))}] ".encode()
    return b"".join(mark + line for line in block.lines.splitlines(keepends=True))

"""What a format is to the rest of this package: where its output goes, and how a shard becomes a part of it. The two
formats are in megatron.py and torchtitan.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from primus.data.corpus import Shard
from primus.data.documents import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What a shard, or all shards up to one, added to the output."""

    documents: int = 0
    tokens: int = 0
    """0 where the format holds text."""

    text_bytes: int = 0
    skipped: int = 0
    """Damaged documents that were left out."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            documents=self.documents + other.documents,
            tokens=self.tokens + other.tokens,
            text_bytes=self.text_bytes + other.text_bytes,
            skipped=self.skipped + other.skipped,
        )


Claim = Callable[[Counts], Counts]
"""A worker tells what its shard adds, and learns what the shards before it add: its place in a common file."""


class Writer(Protocol):
    """The half of a format that runs in the worker processes."""

    def write(self, shard: Shard, report: Report, claim: Claim) -> Counts:
        """Write the shard's part of the output and tell what it added."""
        ...


class Format(Protocol):
    """The half of a format that runs in the command itself."""

    shard_bytes: int
    """Text that one worker takes at a time."""

    work: Path
    """Folder for everything unfinished, beside the output and on its file system."""

    note: Path
    """The JSON file that says what the output is."""

    parts: tuple[Path, ...]
    """What is there when the output is."""

    def facts(self) -> dict[str, Any]:
        """What the note says about this format; part of what must be the same to go on after an interruption."""
        ...

    def writer(self) -> Writer:
        """Called in a worker process."""
        ...

    def rewind(self, done: Counts) -> None:
        """Make the work folder ready to go on after the shards that `done` counts."""
        ...

    def sync(self) -> None:
        """Wait until the finished shards are on the disk."""
        ...

    def finish(self, total: Counts, note: Mapping[str, Any]) -> None:
        """Complete the output in the work folder."""
        ...

    def publish(self) -> None:
        """Move the output to its place, where an older one may be. Can be repeated when it was cut short."""
        ...

"""`--array KEY=V1,V2`: one experiment as several, each with values of its own. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from primus.errors import UsageError

LARGEST = 1000
"""Tasks of one array; SLURM's own limit is 1001 unless its administrators change it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task of an array."""

    values: dict[str, str]
    """As `--set` takes them, by key."""

    @property
    def sets(self) -> list[str]:
        return [f"{key}={value}" for key, value in self.values.items()]

    @property
    def suffix(self) -> str:
        """What sets its folder apart from that of the other tasks: `lr-1e-4`, `lr-1e-4-seed-2`."""
        words = [word for key, value in self.values.items() for word in (key.rpartition(".")[2], value)]
        return "-".join(re.sub(r"[^A-Za-z0-9._+-]+", " ", word).strip().replace(" ", "-") for word in words)


def expand(arrays: Sequence[str]) -> list[Task]:
    """The tasks: every value of each key with every value of the others. One task without values where there is no
    array."""
    keys: dict[str, list[str]] = {}
    for text in arrays:
        key, equals, written = text.partition("=")
        values = split(written)
        if not equals or not key.strip() or not all(values):
            raise UsageError(f"--array {text}: expected KEY=VALUE,VALUE, for instance lr=1e-4,3e-4")
        if key.strip() in keys:
            raise UsageError(f"--array {text}: {key.strip()} is given twice; write all its values in one option")
        keys[key.strip()] = values
    tasks = [Task(values=dict(zip(keys, row, strict=True))) for row in itertools.product(*keys.values())]
    _require_distinct(tasks)
    return tasks


def split(text: str) -> list[str]:
    """The values between commas that stand outside of brackets and quotes."""
    parts, depth, quote, part = [], 0, "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(part.strip())
            part = ""
            continue
        part += letter
    return [*parts, part.strip()]


def _require_distinct(tasks: Sequence[Task]) -> None:
    if len(tasks) > LARGEST:
        raise UsageError(f"--array: {len(tasks)} tasks; at most {LARGEST}")
    seen: dict[str, Task] = {}
    for task in tasks:
        other = seen.setdefault(task.suffix, task)
        if other is not task:
            raise UsageError(f"--array: {' '.join(other.sets)} and {' '.join(task.sets)} would share a folder")

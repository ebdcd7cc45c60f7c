"""Takes old run directories away. Checkpoints are not in them and stay; a run that may still go on is never touched."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from primus.errors import UsageError
from primus.run import FINAL_STATES, explained
from primus.runs.summary import RunSummary

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}

_ENDED = (*FINAL_STATES, "lost")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Which runs may go."""

    keep: int | None = None
    """The newest runs of each experiment that stay."""

    older_than: float | None = None
    """Seconds since the run's last sign of life."""

    state: str | None = None


def parse_age(text: str) -> float:
    """`12h`, `30d`, `8w` as seconds."""
    match = re.fullmatch(r"(\d+)([hdw])", text)
    if not match:
        raise UsageError(f"--older-than {text!r}: expected a number with h, d or w, such as 30d")
    return int(match[1]) * _UNITS[match[2]]


def choose(runs: Sequence[RunSummary], rule: Rule) -> list[RunSummary]:
    """The runs that the rule gives up, of those that have ended; `runs` are in the order of their time."""
    kept: dict[Path, int] = {}
    chosen = []
    for run in reversed(runs):
        position = kept[run.path.parent] = kept.get(run.path.parent, 0) + 1
        newest = rule.keep is not None and position <= rule.keep
        young = rule.older_than is not None and time.time() - _last_sign(run.path) < rule.older_than
        other = rule.state is not None and run.state != rule.state
        if run.state in _ENDED and not (newest or young or other):
            chosen.append(run)
    return chosen[::-1]


def size_of(path: Path) -> int:
    """Bytes of all files in a run directory."""
    return sum(os.lstat(os.path.join(top, name)).st_size for top, _, names in os.walk(path) for name in names)


def remove(path: Path) -> None:
    with explained(f"can't remove {path}"):
        shutil.rmtree(path)


def _last_sign(path: Path) -> float:
    return max(entry.stat().st_mtime for entry in (path, path / "status.json") if entry.exists())

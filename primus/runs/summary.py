"""One run in a few words: how it stands, how far it came. Reads little of each, since there may be thousands."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from primus.run import FINAL_STATES

_TAIL = 8192
"""Bytes at the end of metrics.jsonl; the last report of a step is among them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """What a list shows of a run."""

    path: Path
    id: str
    experiment: str
    """Name of the experiment's folder."""

    state: str
    """As in status.json; `lost` when the launcher is gone without a word, `unreadable` when status.json is damaged."""

    attempt: int = 1
    exit_status: int | None = None
    cause: str = ""
    started: str = ""
    ended: str = ""
    step: int | None = None
    loss: float | None = None
    tokens_per_second: float | None = None

    @property
    def seconds(self) -> float | None:
        """From the start of the last attempt to its end, or until now."""
        begin, end = _moment(self.started), _moment(self.ended)
        if begin is None or (end is None and self.state != "running"):
            return None
        return ((end or datetime.now(timezone.utc)) - begin).total_seconds()


def summarize(path: Path) -> RunSummary:
    """The summary of a run directory; what can't be read is left out."""
    known: dict[str, Any] = {"path": path, "id": path.name, "experiment": path.parent.parent.name}
    last = last_report(path / "metrics.jsonl")
    known |= {"step": last.get("step"), "loss": number(last, "loss")}
    known["tokens_per_second"] = number(last, "tokens_per_second")
    try:
        status = json.loads((path / "status.json").read_bytes())
        return RunSummary(
            **known,
            state=_state(status),
            attempt=int(status.get("attempt", 1)),
            exit_status=status.get("exit_status"),
            cause=str(status.get("cause") or ""),
            started=str(status.get("started") or ""),
            ended=str(status.get("ended") or ""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return RunSummary(**known, state="unreadable")


def last_report(path: Path) -> Mapping[str, Any]:
    """The last whole report of a training step in a metrics.jsonl; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        report = parsed(line)
        if "loss" in report and is_step(report.get("step")):
            return report
    return {}


def is_step(value: object) -> bool:
    """Whether a report's step can be one: a whole number of 64 bits."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def parsed(line: bytes) -> Mapping[str, Any]:
    """A line of metrics.jsonl; empty for half a line, as a killed run leaves it."""
    try:
        report = json.loads(line)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def number(report: Mapping[str, Any], name: str) -> float | None:
    """A metric as a number; NaN and infinity stand in the file as strings."""
    value = report.get(name)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _state(status: Mapping[str, Any]) -> str:
    """A launcher on this machine that is gone can't say how its run ended."""
    state = str(status["state"])
    here = status.get("host") == socket.gethostname() and int(status.get("pid") or 0) > 0
    if state in FINAL_STATES or not here or os.path.exists(f"/proc/{status['pid']}"):
        return state
    return "lost"


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None

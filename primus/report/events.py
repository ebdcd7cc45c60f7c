"""What happened to a run besides steps: attempts, warnings in the logs of its ranks, slow ranks, failures."""

from __future__ import annotations

import mmap
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from primus.redact import redact_text
from primus.report.thin import rounded
from primus.runs.series import Series

MOST = 500
"""Warnings of one run that are shown."""

_READ = 256 << 20
"""Bytes of logs that are searched, rank 0 first."""

_STEP = re.compile(r"^step (\d+): (.*)", re.DOTALL)
_SLOW = re.compile(r"rank (\d+) is slow .* takes ([0-9.]+) s, the median of all ranks is ([0-9.]+) s")

Event = dict[str, Any]
"""`time` (seconds since the epoch) and `step`, either may be None, `kind`, `text`."""


def moment(text: object) -> float | None:
    """`2026-01-31T12:00:00Z` as seconds since the epoch."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def attempts_of(status: Mapping[str, Any], state: str) -> list[dict[str, Any]]:
    """All launches, the last one included."""
    listed = status.get("attempts")
    earlier = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    known = [*earlier, {**status, "state": state}] if status else []
    return [
        {
            "attempt": each.get("attempt") or number,
            "state": str(each.get("state") or "unknown"),
            "status": each.get("exit_status"),
            "cause": redact_text(str(each.get("cause") or "")),
            "begin": moment(each.get("started")),
            "end": moment(each.get("ended")),
        }
        for number, each in enumerate(known, 1)
    ]


def events_of(path: Path, attempts: Sequence[Mapping[str, Any]], series: Series) -> list[Event]:
    """In the order of time, as far as it is known."""
    events = [*_of_attempts(attempts), *_of_values(series), *_of_logs(path, series)]
    return sorted(events, key=lambda event: (event["time"] is None, event["time"] or 0, event["step"] or 0))


def slow_ranks(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Ranks that were warned of, with how often and the worst."""
    found: dict[int, dict[str, Any]] = {}
    for event in events:
        match = _SLOW.search(event["text"])
        if match:
            rank, seconds, median = int(match[1]), float(match[2]), float(match[3])
            row = found.setdefault(rank, {"rank": rank, "times": 0, "seconds": 0.0, "median": 0.0, "step": 0})
            row["times"] += 1
            if seconds > row["seconds"]:
                row |= {"seconds": seconds, "median": median, "step": event["step"]}
    return sorted(found.values(), key=lambda row: (-row["times"], row["rank"]))


def _of_attempts(attempts: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
    for each in attempts:
        name = f"attempt {each['attempt']}"
        yield {"time": each["begin"], "step": None, "kind": "start", "text": f"{name} started"}
        if each["end"] is not None:
            kind = "error" if each["state"] == "failed" else "end"
            cause = f": {each['cause']}" if each["cause"] else ""
            yield {"time": each["end"], "step": None, "kind": kind, "text": f"{name} {each['state']}{cause}"}


def _of_values(series: Series) -> Iterator[Event]:
    """One event for each metric that was reported as NaN or infinite."""
    for name, odd in series.broken.items():
        step, count = series.steps[odd[0]], len(odd)
        more = f", and {count - 1:,} more" if count > 1 else ""
        text = f"{name} is {rounded(series.columns[name][odd[0]])} at step {step:,}{more}"
        yield {"time": _time_of(step, series), "step": step, "kind": "error", "text": text}


def _of_logs(path: Path, series: Series) -> Iterator[Event]:
    seen: set[str] = set()
    left = _READ
    for log in sorted(path.glob("**/logs/node*/rank*.log*"), key=_rank_of):
        for line in _warnings(log, left):
            if line not in seen and len(seen) < MOST:
                seen.add(line)
                yield _warning(line, series)
        left -= log.stat().st_size
        if left <= 0:
            text = f"only the first {_READ >> 20} MiB of the logs were searched for warnings"
            yield {"time": None, "step": None, "kind": "note", "text": text}
            break


def _rank_of(log: Path) -> tuple[int, str]:
    match = re.search(r"rank(\d+)", log.name)
    return (int(match[1]) if match else 0, str(log))


def _warnings(log: Path, limit: int) -> Iterator[str]:
    with log.open("rb") as file:
        if not log.stat().st_size:  # can't be mapped
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            begin = data.find(b"Warning: ", 0, limit)
            while begin >= 0:
                end = data.find(b"\n", begin)
                if begin == 0 or data[begin - 1 : begin] == b"\n":
                    line = data[begin + 9 : end if end >= 0 else len(data)]
                    yield redact_text(line.decode("utf-8", "replace"))[:1000]
                begin = data.find(b"Warning: ", begin + 1, limit)


def _warning(line: str, series: Series) -> Event:
    match = _STEP.match(line)
    if not match:
        return {"time": None, "step": None, "kind": "warning", "text": line}
    step = int(match[1])
    return {"time": _time_of(step, series), "step": step, "kind": "warning", "text": match[2]}


def _time_of(step: int, series: Series) -> float | None:
    position = bisect_right(series.steps, step) - 1
    times = series.columns.get("time")
    if times is None or position < 0 or times[position] != times[position]:
        return None
    return times[position]

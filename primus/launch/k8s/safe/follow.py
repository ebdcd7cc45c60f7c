"""The logs of a workload on a Primus-SaFE server as they are written; target.py calls it. The API has no stream: the
tail is read again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from primus.launch.k8s.http import RefusedError
from primus.launch.k8s.safe.answers import exit_status, pods_of
from primus.launch.k8s.safe.client import Safe


def follow(
    safe: Safe, id: str, pod: str | None, *, lines: int, show: Callable[[str, str], None], interval: float = 2.0
) -> None:
    """Show new lines of one pod or all until the workload has ended."""
    last: dict[str, list[str]] = {}
    over = False
    while not over:
        workload = safe.get(id)
        over = exit_status(workload) is not None  # then one last reading, so that nothing is missed
        for each in pods_of(workload):
            if pod not in (None, each.name):
                continue
            try:
                tail = safe.logs(id, each.name, lines=lines)
            except RefusedError as error:
                if error.code not in (400, 404):
                    raise
                continue  # it has not started yet, or is gone
            for line in new_lines(last.get(each.name, []), tail):
                show(each.name, line)
            last[each.name] = tail
        if not over:
            time.sleep(interval)


def new_lines(before: list[str], now: list[str]) -> list[str]:
    """What a tail shows that the one before did not: both overlap, unless more lines came than a tail holds."""
    for start in range(max(0, len(before) - len(now)), len(before)):
        if before[start] == now[0] and before[start:] == now[: len(before) - start]:
            return now[len(before) - start :]
    return now

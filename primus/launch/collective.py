"""Which ranks a collective waited for in vain, from what the watchdog of each rank has written. account.py asks it when
one rank's log says only that others were missing: after a time-out of NCCL or RCCL."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TIMEOUT = re.compile(r"Watchdog caught collective operation timeout: WorkNCCL\(SeqNum=(\d+), OpType=(\w+)")
_PROGRESS = re.compile(r"last enqueued (?:NCCL )?work: (\d+), last completed (?:NCCL )?work: (\d+)")


def missing_ranks(logs: Mapping[int, str]) -> tuple[list[int], str]:
    """The ranks that did not take part in the collective that timed out first, and that collective: `work 808
    (ALLREDUCE)`. Empty when no rank tells of one, or all took part."""
    timeouts = {rank: (int(match[1]), match[2]) for rank, log in logs.items() if (match := _TIMEOUT.search(log))}
    if not timeouts:
        return [], ""
    work, operation = min(timeouts.values())
    missing = [rank for rank, log in logs.items() if not _took_part(log, timeouts.get(rank), work)]
    return sorted(missing), f"work {work} ({operation})"


def _took_part(log: str, timeout: tuple[int, str] | None, work: int) -> bool:
    """Whether a rank waited in this collective as well: its watchdog says so, or that it was begun there."""
    if timeout is not None and timeout[0] == work:
        return True
    progress = _PROGRESS.search(log)
    return progress is not None and int(progress[1]) >= work

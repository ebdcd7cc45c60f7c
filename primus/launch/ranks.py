"""Which ranks' output the terminal shows: the words of `--ranks`. Pure; `primus train` calls it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from primus.errors import UsageError
from primus.job import Resources

LOCAL_VARIABLE = "LOCAL_RANKS_FILTER"
"""Of the original scripts: numbers of workers within their node, the same on every node."""

_EXPECTED = "expected numbers, ranges such as 0-3, `first` (of each node), `last` or `all`, with commas between them"


def chosen_ranks(wanted: str | None, resources: Resources, environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """The ranks of this node to show, or None when nobody has chosen: then it is the backend's choice."""
    count = resources.nproc_per_node
    first = resources.node_rank * count
    if wanted is not None:
        found = _ranks(wanted, "--ranks", resources.world_size, first=first)
        return tuple(rank for rank in range(first, first + count) if any(rank in each for each in found))
    local = environ.get(LOCAL_VARIABLE)
    if not local:
        return None
    found = _ranks(local, LOCAL_VARIABLE, count, first=0)
    return tuple(first + rank for rank in range(count) if any(rank in each for each in found))


def shown_ranks(ranks: tuple[int, ...]) -> str:
    """Ranks in ascending order, in short: `rank 3`, `ranks 0-2,7`."""
    parts: list[list[int]] = []
    for rank in ranks:
        if parts and rank == parts[-1][-1] + 1:
            parts[-1][1:] = [rank]
        else:
            parts.append([rank])
    return f"rank{'s' * (len(ranks) > 1)} " + ",".join("-".join(map(str, part)) for part in parts)


def _ranks(text: str, source: str, count: int, *, first: int) -> list[range]:
    """The ranges that a text names, among `count` ranks; `first` is what that word means."""
    named = {"all": range(count), "first": range(first, first + 1), "last": range(count - 1, count)}
    return [named.get(word) or _numbers(word, source, count) for word in map(str.strip, text.split(","))]


def _numbers(word: str, source: str, count: int) -> range:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
    if match is None:
        raise UsageError(f"{source}: {word!r} names no rank; {_EXPECTED}")
    low, high = int(match[1]), int(match[2] or match[1])
    if high >= count or low > high:
        raise UsageError(f"{source} {word}: the ranks are " + (f"0 to {count - 1}" if count > 1 else "only 0"))
    return range(low, high + 1)

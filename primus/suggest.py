"""The nearest names to a misspelt one. errors.py and experiment/check.py put them into their messages."""

from __future__ import annotations

from collections.abc import Iterable

_SHORT = 4
_FARTHEST = 4
"""Edits; beyond that, words have little in common."""

_WRONG_SECTION = 3
"""Edits that a wrong section counts for: more than a section that was misspelt twice."""


def nearest(name: str, choices: Iterable[str], *, limit: int = 3) -> list[str]:
    """Those of `choices` that `name` was probably meant to be, best first; empty when none is near.

    Case and the difference between `-` and `_` do not count. Of dotted names, the right one in the wrong section (or
    without its section) is near as well, but not as near as a misspelling.
    """
    wanted = _fold(name)
    section, _, leaf = wanted.rpartition(".")
    reach = 1 if len(wanted) < _SHORT else max(2, min(_FARTHEST, 1 + len(leaf) // 4))
    slips = 0 if len(leaf) < _SHORT else 1
    elsewhere = _WRONG_SECTION if section else 1
    found = []
    for choice in choices:
        folded = _fold(choice)
        its_section, _, its_leaf = folded.rpartition(".")
        distance = edits(wanted, folded, reach)
        near = distance <= reach
        if not near and leaf and its_section != section:
            in_leaf = edits(leaf, its_leaf, slips)
            near, distance = in_leaf <= slips, in_leaf + elsewhere
        if near:
            found.append((distance, its_section != section, -_common_prefix(wanted, folded), choice))
    return [choice for *_, choice in sorted(found)[:limit]]


def edits(one: str, other: str, limit: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours between two words; `limit` + 1 when more."""
    beyond = limit + 1
    if abs(len(one) - len(other)) > limit:
        return beyond
    if one == other:
        return 0
    before: list[int] = []
    previous = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        # Only cells within `limit` of the diagonal can matter.
        first, last = max(1, row - limit), min(len(other), row + limit)
        current = [beyond] * (len(other) + 1)
        current[0] = row
        for column in range(first, last + 1):
            same = letter == other[column - 1]
            cost = min(previous[column] + 1, current[column - 1] + 1, previous[column - 1] + (not same))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == other[column - 1]:
                cost = min(cost, before[column - 2] + 1)
            current[column] = cost
        if min(current) > limit:
            return beyond
        before, previous = previous, current
    return min(previous[-1], beyond)


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def _common_prefix(one: str, other: str) -> int:
    length = 0
    for mine, its in zip(one, other, strict=False):
        if mine != its:
            break
        length += 1
    return length

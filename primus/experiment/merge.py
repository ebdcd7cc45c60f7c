"""Merging: a later tree over an earlier one, remembering what was replaced. inherit.py and load.py call it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from primus.errors import Problem
from primus.experiment.model import Section, Value


def merge(lower: Section, upper: Section, problems: list[Problem]) -> Section:
    """`upper` over `lower`: sections are merged, values and lists are replaced whole.

    A key that is a section in one and a value in the other is a problem, whichever comes first: so the result does
    not depend on the order in which several trees are put together.
    """
    merged = Section(upper.origin, upper.path, lower)
    for name, node in upper.items():
        below = lower.get(name)
        if below is None:
            merged[name] = node
        elif isinstance(below, Section) and isinstance(node, Section):
            merged[name] = merge(below, node, problems)
        elif isinstance(below, Value) and isinstance(node, Value):
            merged[name] = over(below, node)
        else:
            problems.append(_conflict(below, node))
            merged[name] = node
    return merged


def merge_all(trees: Iterable[Section], problems: list[Problem]) -> Section:
    """Several trees, the last one wins. There must be at least one."""
    first, *rest = trees
    for tree in rest:
        first = merge(first, tree, problems)
    return first


def over(lower: Value, upper: Value) -> Value:
    """`upper`, which remembers at the end of its chain that it replaced `lower`."""
    return replace(upper, replaced=lower if upper.replaced is None else over(lower, upper.replaced))


def _conflict(lower: Section | Value, upper: Section | Value) -> Problem:
    if isinstance(upper, Section):
        message = f"is a section here, but a single value in {lower.origin}"
    elif upper.data is None:
        message = f"is empty here, but a section in {lower.origin}: remove the line, or write {{}} for no changes"
    else:
        message = f"is a single value here, but a section in {lower.origin}"
    return Problem(where=upper.origin, key=upper.path, message=message)

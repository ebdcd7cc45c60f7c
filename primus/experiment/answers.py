"""Finds what a schema says to a key that is known but is none of the backend's own. check.py and upgrade.py call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from primus.experiment.domain import same
from primus.experiment.schema import Answer, Schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An answer, and what it makes of one key."""

    answer: Answer
    target: str = ""
    """Today's name of the key, for `renamed`."""


def find_answer(key: str, schema: Schema) -> Found | None:
    """The answer for this key, or the one for the nearest section above it; None when there is none."""
    name, rest = key, ""
    while name:
        answer = schema.answers.get(name)
        if answer is not None:
            target = f"{answer.to}{rest}" if answer.action == "renamed" else ""
            return Found(answer=answer, target=target)
        name, dot, last = name.rpartition(".")
        rest = f"{dot}{last}{rest}"
    return None


def new_value(answer: Answer, data: Any) -> Any:
    """The value of a renamed key under its new name."""
    return next((new for old, new in answer.values if same(old, data)), data)


def is_harmless(answer: Answer, data: Any) -> bool:
    """Whether this value changes nothing, so that the key needs no answer."""
    return any(data == harmless for harmless in answer.harmless)


def follow(key: str, schema: Schema, data: Any) -> tuple[str, Any, list[Answer]]:
    """Today's name and value of a key that was renamed, perhaps more than once, and the answers on the way."""
    passed: list[Answer] = []
    while key not in schema.keys:
        found = find_answer(key, schema)
        if found is None or found.answer.action != "renamed" or found.answer in passed:
            break
        passed.append(found.answer)
        key, data = found.target, new_value(found.answer, data)
    return key, data, passed

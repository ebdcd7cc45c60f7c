"""What to say about a key that a schema does not know. check.py and the commands call it."""

from __future__ import annotations

from collections.abc import Iterable

from primus.experiment.answers import find_answer
from primus.experiment.schema import Schema
from primus.suggest import nearest

_SHOWN = 4
"""Keys of a section that a message lists."""


def explain_unknown(key: str, schema: Schema, others: Iterable[Schema] = ()) -> str:
    """The reason why there is no such key, and what was probably meant."""
    above = _key_above(key, schema)
    if above is not None:
        return f"unknown key: {above} is a single value, not a section"
    inside = [name for name in schema.keys if name.startswith(f"{key}.")]
    if inside:
        more = ", …" if len(inside) > _SHOWN else ""
        return f"is a section, with keys such as {', '.join(inside[:_SHOWN])}{more}; give it none or several of them"
    owners = [other.backend for other in others if key in other.keys or find_answer(key, other)]
    if owners:
        return f"unknown key of {schema.backend}; it belongs to {' and '.join(owners)}.{_suggestion(key, schema)}"
    return f"unknown key.{_suggestion(key, schema)}"


def suggest_key(key: str, schema: Schema, limit: int = 1) -> list[str]:
    """The keys that were probably meant, best first; an old name stands for today's."""
    found: dict[str, None] = {}
    for name in nearest(key, [*schema.keys, *schema.answers], limit=limit + 2):
        answer = schema.answers.get(name)
        found[answer.to if answer is not None and answer.action == "renamed" else name] = None
    return list(found)[:limit]


def _suggestion(key: str, schema: Schema) -> str:
    near = suggest_key(key, schema)
    return f" Did you mean {near[0]}?" if near else ""


def _key_above(key: str, schema: Schema) -> str | None:
    """The key of a single value that `key` is written below of."""
    name = key.rpartition(".")[0]
    while name:
        if name in schema.keys:
            return name
        name = name.rpartition(".")[0]
    return None

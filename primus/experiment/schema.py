"""What a backend accepts: its keys with type, domain, default and help. Read from JSON, without the backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key that an experiment may set."""

    name: str
    """Dotted name, for instance `lr` or `training.steps`."""

    types: tuple[str, ...]
    """Alternatives out of `bool`, `int`, `float`, `str`, `list[int]`, `list[float]`, `list[str]`, `list`, `table`
    and `none`. An int is accepted where a float is expected, never the reverse."""

    default: Any = None
    """The backend's own default, as plain data."""

    help: str = ""
    """One line."""

    group: str = ""
    """What it belongs to, for display: `model`, `parallel`, `data`, `optimizer` …"""

    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    """Inclusive bounds of a number (of each element of a list)."""

    exclusive_minimum: bool = False
    source: str = ""
    """Where the key ends up, for instance `TransformerConfig.num_layers`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What Primus says to a key that is known elsewhere but is not one of the backend's own."""

    action: Literal["renamed", "warn", "refuse"]
    """`renamed` applies it under its new name; `warn` goes on without it; `refuse` is an error, since training would
    differ."""

    message: str
    """The reason, and what to use instead."""

    to: str = ""
    """New dotted name, for `renamed`."""

    values: tuple[tuple[Any, Any], ...] = ()
    """Old value and new value, for `renamed`, where the meaning changed too (`((True, False), (False, True))` for a
    switch that was inverted). A value that is not listed is kept."""

    harmless: tuple[Any, ...] = ()
    """Values that change nothing and need no answer (for instance False for a switch that is off)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """All keys of one backend at one version."""

    backend: str
    version: str
    """Of the package that the keys were read from, for instance `megatron-core 0.16.1`."""

    keys: Mapping[str, Key]
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """By dotted name, or by a section's name for everything below it."""


def read_schema(path: Path, answers_path: Path | None = None) -> Schema:
    """The schema that `write_schema` wrote; `answers_path` names a second file with more answers."""
    content = json.loads(path.read_bytes())
    answers = content.get("answers", {})
    if answers_path is not None:
        answers = {**answers, **json.loads(answers_path.read_bytes())}
    return Schema(
        backend=content["backend"],
        version=content["version"],
        keys={name: Key(name=name, **_from_json(row, Key)) for name, row in content["keys"].items()},
        answers={name: Answer(**_from_json(row, Answer)) for name, row in answers.items()},
    )


def write_schema(path: Path, schema: Schema) -> None:
    """The schema as JSON, one key per line, so that a change reads well in a diff."""
    path.write_text(schema_text(schema), encoding="utf-8")


def schema_text(schema: Schema) -> str:
    """What `write_schema` writes."""
    head = [f" {json.dumps(name)}: {json.dumps(getattr(schema, name))}" for name in ("backend", "version")]
    tables = [f' "{name}": {_table(getattr(schema, name))}' for name in ("keys", "answers") if getattr(schema, name)]
    return "{\n" + ",\n".join([*head, *tables]) + "\n}\n"


def _table(rows: Mapping[str, Key | Answer]) -> str:
    lines = [f"  {json.dumps(name)}: {json.dumps(_to_json(row), ensure_ascii=False)}" for name, row in rows.items()]
    return "{\n" + ",\n".join(lines) + "\n }"


def _to_json(row: Key | Answer) -> dict[str, Any]:
    """The fields that are not at their default; the name of a key is not repeated."""
    values = {each.name: (getattr(row, each.name), each.default) for each in fields(row) if each.name != "name"}
    return {name: value for name, (value, default) in values.items() if value is not default and value != default}


def _from_json(row: dict[str, Any], kind: type[Key] | type[Answer]) -> dict[str, Any]:
    """JSON has no tuples: lists become tuples again where the class has them."""
    for name in _TUPLES[kind]:
        if name in row:
            row[name] = tuple(row[name])
    if "values" in row:
        row["values"] = tuple((old, new) for old, new in row["values"])
    return row


_TUPLES: Mapping[type, tuple[str, ...]] = {Key: ("types", "choices"), Answer: ("harmless",)}

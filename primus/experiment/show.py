"""The effective experiment for people and programs: each value with its group, origin and default. `config show`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from primus.errors import Origin
from primus.experiment.domain import same
from primus.experiment.dump import format_data
from primus.experiment.leaf import NAMES
from primus.experiment.model import Experiment, Value
from primus.experiment.schema import Key, Schema

_WIDEST = 40
"""Columns of a cell; a longer value pushes what follows to the right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One value as it is shown."""

    key: str
    value: Value
    group: str
    schema: Key | None
    """None for the names of the experiment, and below a table, where keys are free."""

    @property
    def is_default(self) -> bool:
        """Whether the backend would do the same without this value."""
        return self.schema is not None and same(self.value.data, self.schema.default)


def rows(experiment: Experiment, schema: Schema) -> list[Row]:
    """Every value that a file, the environment or an option set, group by group in the order of the schema."""
    order = {group: rank for rank, group in enumerate(dict.fromkeys(key.group for key in schema.keys.values()))}
    names = [
        Row(key=key, value=value, group="names", schema=None)
        for key in (*NAMES, "framework", "config", "model")
        if isinstance(value := experiment.header.get(key), Value)
    ]
    values = [
        Row(key=key, value=value, group=_group(key, schema), schema=schema.keys.get(key))
        for key, value in experiment.leaves()
    ]
    return names + sorted(values, key=lambda row: order.get(row.group, len(order)))


def replaced(value: Value) -> Iterator[Value]:
    """The values that this one overrode, the last one first."""
    below = value.replaced
    while below is not None:
        yield below
        below = below.replaced


def describe_origin(origin: Origin) -> str:
    """The place of a value, and the variables that it was made from."""
    named = ", ".join(f"${name}" for name in origin.variables)
    return f"{origin} ({named})" if named else str(origin)


def as_text(experiment: Experiment, schema: Schema) -> str:
    """A table for the terminal."""
    shown = rows(experiment, schema)
    lines = [
        f"experiment  {experiment.path}",
        f"backend     {experiment.framework} ({schema.version})",
        f"folder      {experiment.folder}",
    ]
    cells = [(row.key, format_data(row.value.data), describe_origin(row.value.origin), _note(row)) for row in shown]
    widths = [min(_WIDEST, max((len(cell[column]) for cell in cells), default=0)) for column in range(3)]
    for group, some in groupby(zip(shown, cells, strict=True), key=lambda pair: pair[0].group):
        lines += ["", group or "other"]
        lines += [_line(cell, widths) for _, cell in some]
    return "\n".join(lines)


def as_json(experiment: Experiment, schema: Schema) -> dict[str, Any]:
    """The same for programs."""
    return {
        "path": str(experiment.path),
        "backend": experiment.framework,
        "version": schema.version,
        "folder": str(experiment.folder),
        "sources": list(experiment.sources),
        "values": {row.key: _row_json(row) for row in rows(experiment, schema)},
    }


def origin_json(origin: Origin) -> dict[str, Any]:
    """An origin as JSON."""
    content = {"kind": origin.kind, "name": origin.name, "line": origin.line, "variables": list(origin.variables)}
    return {name: value for name, value in content.items() if value not in (None, [])}


def plain_json(data: Any) -> Any:
    """Data that any JSON reader takes: infinity and nan, which JSON lacks, as YAML writes them."""
    if isinstance(data, float) and not math.isfinite(data):
        return format_data(data)
    if isinstance(data, (list, tuple)):
        return [plain_json(item) for item in data]
    if isinstance(data, Mapping):
        return {name: plain_json(item) for name, item in data.items()}
    return data


def _row_json(row: Row) -> dict[str, Any]:
    below = [{"value": plain_json(each.data), "origin": origin_json(each.origin)} for each in replaced(row.value)]
    content = {
        "value": plain_json(row.value.data),
        "group": row.group,
        "origin": origin_json(row.value.origin),
        "overrode": below,
    }
    if row.schema is not None:
        content |= {"default": plain_json(row.schema.default), "is_default": row.is_default}
    return content


def _group(key: str, schema: Schema) -> str:
    while key:
        if key in schema.keys:
            return schema.keys[key].group
        key = key.rpartition(".")[0]
    return ""


def _note(row: Row) -> str:
    parts = [f"over {format_data(each.data)} ({describe_origin(each.origin)})" for each in replaced(row.value)]
    if row.schema is not None:
        parts.insert(0, "= default" if row.is_default else f"default {format_data(row.schema.default)}")
    return ", ".join(parts)


def _line(cell: tuple[str, str, str, str], widths: list[int]) -> str:
    padded = [text.ljust(width) for text, width in zip(cell, widths, strict=False)]
    return f"  {'  '.join([*padded, cell[3]])}".rstrip()

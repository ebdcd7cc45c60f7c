"""Two experiments compared by what they mean: presets merged, old names resolved, defaults known. `config diff`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primus.experiment.domain import same
from primus.experiment.dump import format_data
from primus.experiment.model import Experiment, Value
from primus.experiment.schema import Schema
from primus.experiment.show import Row, describe_origin, origin_json, plain_json, rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A key that means something else in the two experiments."""

    key: str
    group: str
    values: tuple[Any, Any]
    """What is in effect: what the experiment says, else the backend's default."""

    origins: tuple[Value | None, Value | None]
    """None where the backend's default is in effect."""


def differences(one: Experiment, other: Experiment, schema: Schema) -> list[Difference]:
    """Keys with different values, group by group. Both experiments are checked and for the same backend."""
    left, right = ({row.key: row for row in rows(each, schema)} for each in (one, other))
    found = []
    for key in {**left, **right}:
        row = left.get(key) or right[key]
        if row.group == "names" and key in ("config", "model"):
            continue  # what is in the presets is compared, not their names
        default = row.schema.default if row.schema is not None else None
        origins = _value(left.get(key)), _value(right.get(key))
        values = (
            default if origins[0] is None else origins[0].data,
            default if origins[1] is None else origins[1].data,
        )
        if not same(*values):
            found.append(Difference(key=key, group=row.group, values=values, origins=origins))
    return found


def _value(row: Row | None) -> Value | None:
    return None if row is None else row.value


def as_text(found: list[Difference], names: tuple[str, str]) -> str:
    """A block for each difference, the first experiment's line above the second's."""
    lines = []
    for each in found:
        lines.append(each.key)
        for name, data, value in zip(names, each.values, each.origins, strict=True):
            origin = "default" if value is None else describe_origin(value.origin)
            lines.append(f"  {name.ljust(max(map(len, names)))}  {format_data(data)}  ({origin})")
    return "\n".join(lines) or f"{names[0]} and {names[1]} mean the same."


def as_json(found: list[Difference]) -> Mapping[str, Any]:
    """The same for programs: for each key both values with their origins."""
    return {
        each.key: [
            {"value": plain_json(data), "origin": None if value is None else origin_json(value.origin)}
            for data, value in zip(each.values, each.origins, strict=True)
        ]
        for each in found
    }

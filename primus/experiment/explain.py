"""All that is known about one key: its type and domain, its old names, and what the shipped files set it to.
`config explain` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primus.experiment.domain import bounds, expected
from primus.experiment.dump import format_data
from primus.experiment.load import load, load_preset
from primus.experiment.model import Value
from primus.experiment.paths import Kind, shipped
from primus.experiment.schema import Key, Schema
from primus.experiment.show import plain_json

_PRESETS: Mapping[Kind, str] = {"modules": "module", "models": "model"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """A shipped file that sets a key."""

    kind: str
    """`module`, `model` or `experiment`."""

    name: str
    value: Value


def uses(key: str, framework: str, environ: Mapping[str, str]) -> list[Use]:
    """The shipped presets and experiments that set the key, and to what."""
    found = []
    for kind, word in _PRESETS.items():
        for name, path in shipped(kind, framework).items():
            value = load_preset(path, kind, framework, environ=environ).find(key)
            found += [] if value is None else [Use(kind=word, name=name, value=value)]
    for name, path in shipped("experiments", framework).items():
        experiment = load(path, framework=framework, environ=environ)
        value = experiment.find(key)
        if value is not None and value.origin.name == experiment.sources[-1]:
            found.append(Use(kind="experiment", name=name, value=value))
    return found


def as_text(key: Key, schema: Schema, used: list[Use]) -> str:
    """A few lines for the terminal."""
    lines = [f"{key.name}  ({schema.backend})", f"  {key.help}", ""]
    facts = {
        "takes": expected(key) + (f", {bounds(key)}" if bounds(key) else ""),
        "default": format_data(key.default),
        "group": key.group,
        "sets": key.source,
        "old names": ", ".join(old_names(key.name, schema)),
    }
    lines += [f"  {name.ljust(9)}  {fact}" for name, fact in facts.items() if fact]
    by_value: dict[str, list[str]] = {}
    for use in used:
        by_value.setdefault(format_data(use.value.data), []).append(f"{use.name} ({use.kind})")
    if by_value:
        lines += ["", "  set by the shipped files to"]
        width = max(map(len, by_value))
        lines += [f"    {value.ljust(width)}  {', '.join(names)}" for value, names in by_value.items()]
    return "\n".join(lines)


def as_json(key: Key, schema: Schema, used: list[Use]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "key": key.name,
        "backend": schema.backend,
        "version": schema.version,
        "types": list(key.types),
        "default": plain_json(key.default),
        "choices": None if key.choices is None else list(key.choices),
        "minimum": key.minimum,
        "maximum": key.maximum,
        "exclusive_minimum": key.exclusive_minimum,
        "help": key.help,
        "group": key.group,
        "source": key.source,
        "old_names": old_names(key.name, schema),
        "set_by": [{"kind": use.kind, "name": use.name, "value": plain_json(use.value.data)} for use in used],
    }


def old_names(name: str, schema: Schema) -> list[str]:
    """Names under which the key is accepted too, with a warning."""
    return [old for old, answer in schema.answers.items() if answer.action == "renamed" and answer.to == name]

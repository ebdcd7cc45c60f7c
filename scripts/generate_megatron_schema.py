"""Write primus/backends/megatron/schema.json: every key that the Megatron backend accepts, from the installed package.

Run by hand after an upgrade of megatron-core (`python scripts/generate_megatron_schema.py`), and by the test that
looks for drift. Reads the package's source, never imports it: megatron_source.py. Help and domains that the
dataclasses do not state stand in megatron_keys.yaml, what Primus says to other keys in megatron_answers.yaml.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from megatron_source import Field, read_fields

from primus.backends.megatron import keys, settings
from primus.experiment.schema import Answer, Key, Schema, write_schema

HERE = Path(__file__).parent
SCHEMA = HERE.parent / "primus/backends/megatron/schema.json"
SETTINGS = settings.TrainingSettings


def generate() -> Schema:
    """The schema of the installed megatron-core; raises ValueError when the tables and the package do not agree."""
    answers = _answers()
    described = _described()
    found = {key.name: key for key in (*_config_keys(described, answers), *_settings_keys(described))}
    _agree(found, described, answers)
    return Schema(
        backend="megatron",
        version=f"megatron-core {metadata.version('megatron-core')}",
        keys={name: found[name] for name in sorted(found)},
        answers={name: answers[name] for name in sorted(answers)},
    )


def _config_keys(described: Mapping[str, Mapping[str, Any]], answers: Mapping[str, Answer]) -> Iterator[Key]:
    """Keys that set fields of megatron.core's dataclasses, under the names of Megatron's arguments."""
    for name, routes in _routes(answers).items():
        fields = [(route, read_fields(route.config)[route.field]) for route in routes]
        route, first = fields[0]
        default = _default_before(route.form, first)
        types, choices = first.types, first.choices
        if route.form == "not":
            types, choices = ("bool",), None
        row = described.get(name, {})
        yield _key(
            name,
            {"types": types, "choices": choices, "default": default, **row},
            source=", ".join(f"{route.config}.{route.field}" for route, _ in fields),
        )


def _routes(answers: Mapping[str, Answer]) -> dict[str, list[keys.Route]]:
    """For each key the fields that it sets; a key that the table does not route sets the field of its own name."""
    owned = {name for name in _settings_fields() if name not in keys.ROUTES}
    taken = {(route.config, route.field) for routes in keys.ROUTES.values() for route in routes}
    found: dict[str, list[keys.Route]] = {}
    for name, routes in keys.ROUTES.items():
        if name not in _settings_fields():
            found[name] = list(routes)
    for config in keys.CONFIGS:
        for name in read_fields(config):
            inherited = config == keys.MLA and name in read_fields(keys.MODEL)
            derived = name in keys.DERIVED.get(config, ()) or name in owned or name in answers
            if not (inherited or derived or (config, name) in taken):
                found.setdefault(name, []).append(keys.Route(config=config, field=name))
    return found


def _settings_keys(described: Mapping[str, Mapping[str, Any]]) -> Iterator[Key]:
    """Keys that Primus' own loop reads; the docstring in settings.py is their help, the class their group."""
    for name, (group, field, annotation, help_text) in _settings_fields().items():
        if name in described:
            raise ValueError(f"{name} is a key of settings.py: describe it there, not in megatron_keys.yaml")
        types, choices = _python_types(annotation)
        routes = keys.ROUTES.get(name, ())
        source = [f"TrainingSettings.{name}", *(f"{route.config}.{route.field}" for route in routes)]
        bounds = {bound: value for bound, value in field.metadata.items() if value not in (None, False)}
        default = None if field.default is dataclasses.MISSING else field.default
        fact = {"types": types, "choices": choices, "default": default, "help": help_text, "group": group}
        yield _key(name, fact | bounds, source=", ".join(source))


def _settings_fields() -> dict[str, tuple[str, dataclasses.Field[Any], Any, str]]:
    hints = typing.get_type_hints(SETTINGS)
    found = {}
    for owner in SETTINGS.__mro__[1:-1]:
        documented = read_fields(owner.__name__, Path(inspect.getfile(owner)))
        group = owner.__name__.removesuffix("Settings").lower()
        for field in dataclasses.fields(owner):  # type: ignore[arg-type]  # every base is a dataclass
            found[field.name] = (group, field, hints[field.name], documented[field.name].doc)
    return found


def _key(name: str, facts: Mapping[str, Any], *, source: str) -> Key:
    """A key; null always stands for "not set", which arguments.py turns into the field's default."""
    facts = dict(facts)
    facts["types"] = dict.fromkeys((*facts["types"], "none"))
    for plural in ("types", "choices"):
        facts[plural] = None if facts.get(plural) is None else tuple(facts[plural])
    if "above" in facts:
        facts |= {"minimum": facts.pop("above"), "exclusive_minimum": True}
    return Key(name=name, source=source, **facts)


def _default_before(form: keys.Form, field: Field) -> Any:
    """The default of the key: what its form turns into the field's default."""
    return not field.default if form == "not" else field.default


def _python_types(annotation: Any) -> tuple[tuple[str, ...], tuple[Any, ...] | None]:
    """Schema types and choices of a resolved annotation of settings.py."""
    if typing.get_origin(annotation) is typing.Literal:
        return ("str",), typing.get_args(annotation)
    if typing.get_origin(annotation) is list:
        element = typing.get_args(annotation)[0]
        return (f"list[{element.__name__}]" if isinstance(element, type) else "list",), None
    if isinstance(annotation, type):
        return ("none" if annotation is type(None) else annotation.__name__,), None
    parts = [_python_types(part) for part in typing.get_args(annotation)]
    choices = [choice for _, some in parts for choice in some or ()]
    return tuple(name for types, _ in parts for name in types), tuple(choices) or None


def _described() -> dict[str, dict[str, Any]]:
    """megatron_keys.yaml, by key, with the group filled in."""
    groups = yaml.safe_load((HERE / "megatron_keys.yaml").read_text())
    return {
        name: {"group": group, **(row if isinstance(row, dict) else {"help": row})}
        for group, rows in groups.items()
        for name, row in rows.items()
    }


def _answers() -> dict[str, Answer]:
    """megatron_answers.yaml, by key: a family's answer holds for each of its keys; null is always harmless."""
    found: dict[str, Answer] = {}
    for family in yaml.safe_load((HERE / "megatron_answers.yaml").read_text()):
        rows = family["keys"]
        for name, row in rows.items() if isinstance(rows, dict) else ((name, []) for name in rows):
            if name in found:
                raise ValueError(f"megatron_answers.yaml answers {name} twice")
            own = row if isinstance(row, dict) else {"harmless": row}
            harmless = own.get("harmless", [])
            found[name] = Answer(
                action=own.get("action", family["action"]),
                message=own.get("message", family.get("message", "")),
                to=own.get("to", ""),
                values=tuple((old, new) for old, new in own.get("values", ())),
                harmless=(*(() if own.get("to") else (None,)), *harmless),
            )
    return found


def _agree(found: Mapping[str, Key], described: Mapping[str, Any], answers: Mapping[str, Answer]) -> None:
    """Every key has a line of help, every table row a key, and no key is also answered."""
    fields = {name for config in keys.CONFIGS for name in read_fields(config)}
    routed = {route.field for routes in keys.ROUTES.values() for route in routes}
    faults = {
        "a type that a file can't say, and no answer in megatron_answers.yaml": {
            name for name, key in found.items() if key.types == ("none",)
        },
        "no help in megatron_keys.yaml nor an answer in megatron_answers.yaml": {
            name for name, key in found.items() if not key.help
        },
        "in megatron_keys.yaml, but no key": set(described) - set(found),
        "a key and in megatron_answers.yaml as well": set(answers) & set(found),
        "a field of megatron.core without key or answer": fields - routed - set(found) - set(answers),
        "renamed to something that is no key": {
            name for name, answer in answers.items() if answer.to and answer.to not in found
        },
    }
    lines = [f"{fault}: {', '.join(sorted(names))}" for fault, names in faults.items() if names]
    if lines:
        raise ValueError("\n".join(lines))


if __name__ == "__main__":
    write_schema(SCHEMA, generate())

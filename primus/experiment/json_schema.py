"""A JSON Schema for experiment files, so that editors complete and check them. `config schema` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from primus.experiment.dialect import MODULE
from primus.experiment.leaf import NAMES
from primus.experiment.schema import Answer, Key, Schema
from primus.experiment.show import plain_json

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Mapping[str, dict[str, Any]] = {
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"anyOf": [{"type": "number"}, {"enum": [".inf", "-.inf", ".nan"]}]},
    "str": {"type": "string"},
    "list": {"type": "array"},
    "table": {"type": "object"},
    "none": {"type": "null"},
}
_VARIABLE = {"type": "string", "pattern": r"\$\{", "description": "Made from environment variables: ${NAME:default}."}
_INHERIT = {
    "description": "Files or shipped presets that this one is merged over; the last one wins.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}],
}


def experiment_schema(schemas: Iterable[Schema], bare: str) -> dict[str, Any]:
    """For experiment files of all backends, and for job files of the backend `bare`, which have no `modules`."""
    schemas = list(schemas)
    names = {name: {"type": ["string", "number", "boolean"]} for name in NAMES}
    inherit = {"bases": _INHERIT, "extends": _INHERIT}
    module = {
        "type": "object",
        "properties": {
            "framework": {"anyOf": [{"enum": [schema.backend for schema in schemas]}, _VARIABLE]},
            "config": {"type": ["string", "null"], "description": "Module preset: training defaults."},
            "model": {"type": ["string", "null"], "description": "Model preset."},
            "overrides": {
                "type": ["object", "null"],
                "description": "Keys of the framework.",
            },
            "effective": {"type": "boolean", "description": "The presets are merged in already."},
        },
        "additionalProperties": False,
        "allOf": [_overrides_of(schema) for schema in schemas],
    }
    job = next(schema for schema in schemas if schema.backend == bare)
    experiment = {
        "properties": {
            **names,
            **inherit,
            "platform": {"deprecated": True},
            "modules": {
                "type": "object",
                "properties": {MODULE: {"anyOf": [module, {"type": "null"}]}},
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }
    return {
        "$schema": _DIALECT,
        "title": "Primus experiment",
        "type": "object",
        "if": {"anyOf": [{"required": ["modules"]}, {"required": ["bases"]}, {"required": ["extends"]}]},
        "then": experiment,
        "else": _section(job, {**names, **inherit}),
        "$defs": {schema.backend: _section(schema) for schema in schemas},
    }


def preset_schema(schema: Schema) -> dict[str, Any]:
    """For the module and model presets of one backend."""
    inherit = {"bases": _INHERIT, "extends": _INHERIT}
    return {"$schema": _DIALECT, "title": f"Primus preset for {schema.backend}", **_section(schema, inherit)}


def _overrides_of(schema: Schema) -> dict[str, Any]:
    return {
        "if": {"properties": {"framework": {"const": schema.backend}}, "required": ["framework"]},
        "then": {"properties": {"overrides": {"anyOf": [{"$ref": f"#/$defs/{schema.backend}"}, {"type": "null"}]}}},
    }


def _section(schema: Schema, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    root: dict[str, Any] = {"type": "object", "properties": dict(more or {}), "additionalProperties": False}
    for name, key in schema.keys.items():
        _place(root, name, _key(key))
    for name, answer in schema.answers.items():
        described = _answer(answer)
        if described is not None:
            _place(root, name, described)
    return root


def _place(root: dict[str, Any], name: str, described: dict[str, Any]) -> None:
    """Put a key below its sections, which are made as needed; an existing section or key is left as it is."""
    *sections, last = name.split(".")
    node = root
    for section in sections:
        node = node["properties"].setdefault(
            section, {"type": "object", "properties": {}, "additionalProperties": False}
        )
        if "properties" not in node:
            return
    node["properties"].setdefault(last, described)


def _key(key: Key) -> dict[str, Any]:
    kinds = [_kind(kind, key) for kind in key.types]
    if not set(key.types) & {"str"}:
        kinds.append(_VARIABLE)
    if key.choices:
        scalars = [kind for kind in key.types if kind not in ("str", "none", "bool") and not kind.startswith("list")]
        kinds = [{"enum": list(key.choices)}, _VARIABLE]
        kinds += [_kind(kind, key) for kind in key.types if kind not in ("str", *scalars)]
    described: dict[str, Any] = {"description": key.help} if key.help else {}
    described |= {"default": plain_json(key.default)} if key.default is not None else {}
    return described | {"anyOf": kinds}


def _kind(kind: str, key: Key) -> dict[str, Any]:
    kind, bracket, element = kind.partition("[")
    if bracket:
        item = {"enum": list(key.choices)} if key.choices else _kind(element[:-1], key)
        return {"type": "array", "items": {"anyOf": [item, _VARIABLE]}}
    if kind not in ("int", "float"):
        return _TYPES[kind]
    limits = {"exclusiveMinimum" if key.exclusive_minimum else "minimum": key.minimum, "maximum": key.maximum}
    return {**_TYPES[kind], **{name: limit for name, limit in limits.items() if limit is not None}}


def _answer(answer: Answer) -> dict[str, Any] | None:
    """What an editor should take of an old or foreign key: all that Primus takes; None for nothing at all."""
    described = {"description": answer.message, "deprecated": True}
    if answer.action != "refuse":
        return described
    return {**described, "enum": [plain_json(value) for value in answer.harmless]} if answer.harmless else None

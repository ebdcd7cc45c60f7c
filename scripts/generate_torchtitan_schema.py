"""Write primus/backends/torchtitan/schema.json and flavors.json: the keys and models of the installed torchtitan.

Run by hand after an upgrade of torchtitan (`python scripts/generate_torchtitan_schema.py`), and by the test that looks
for drift. Reads the package's source, never imports it: backends/torchtitan/source.py. Domains and help stand in
torchtitan_keys.yaml, what Primus says to keys of other versions in torchtitan_answers.yaml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from primus.backends.torchtitan import source
from primus.experiment.schema import Answer, Key, Schema, write_schema

HERE = Path(__file__).parent
TARGET = HERE.parent / "primus/backends/torchtitan"

NOT_SIZES = {
    "max_seq_len": "set from training.seq_len",
    "max_batch_size": "read by nothing",
    "eos_id": "read by nothing; the tokenizer's is used",
    "dtype": "read by nothing",
    "expert_parallel_comm_backend": "set from parallelism.expert_parallel_comm_backend",
    "moe_args._debug_force_load_balance": "set from debug.moe_force_load_balance",
}
"""Arguments of models that an experiment can't set as a size, and why."""

_HELP_LIMIT = 200
_ROW = {"help", "choices", "minimum", "maximum", "above", "own"}
"""`own` marks a switch that torchtitan does not have: Primus' worker reads it, and it is off by default."""


def generate() -> tuple[Schema, dict[str, Any]]:
    """The schema and the table of models of the installed torchtitan; ValueError when the YAML tables don't agree."""
    package = source.root()
    families = {name: source.read_family(package, name) for name in source.FAMILIES}
    described = _read("torchtitan_keys.yaml")
    answers = _answers()
    config = [field for field in source.read_job_config(package) if field.name not in answers]
    keys = {key.name: key for key in (*_config_keys(config, described), *_size_keys(families, described["custom"]))}
    _agree(keys, described, answers)
    schema = Schema(
        backend="torchtitan",
        version=f"torchtitan {metadata.version('torchtitan')}",
        keys=keys,
        answers={name: answers[name] for name in sorted(answers)},
    )
    return schema, {name: _family(family) for name, family in families.items()}


def _config_keys(fields: list[source.Field], described: Mapping[str, Any]) -> Iterator[Key]:
    rows = {name: row for group, table in described.items() if group != "custom" for name, row in table.items()}
    for field in fields:
        types, choices = source.types_of(field.annotation)
        yield _key(field.name, rows.get(field.name, {}), types, choices, field.default, field.help, field.owner)
    for name, row in rows.items():
        if row.get("own"):
            yield _key(name, row, ("bool",), None, False, "", "Primus")


def _size_keys(families: Mapping[str, source.Family], described: Mapping[str, Any]) -> Iterator[Key]:
    """Keys below model.custom: what the families' argument classes have, together."""
    found: dict[str, dict[str, source.Field]] = {}
    for family, data in families.items():
        for field in data.fields:
            if field.name not in NOT_SIZES:
                found.setdefault(field.name, {})[family] = field
    for name in sorted(found):
        read = {family: source.types_of(field.annotation) for family, field in found[name].items()}
        types = tuple(dict.fromkeys(kind for kinds, _ in read.values() for kind in kinds))
        choices = next((choices for _, choices in read.values() if choices), None)
        defaults = {family: field.default for family, field in found[name].items()}
        help_text = f"{described[name]['help'].rstrip('.')}. Default: {_by_family(defaults)}."
        owners = ", ".join(f"{family} {field.owner}" for family, field in found[name].items())
        row = {**described[name], "help": help_text}
        yield _key(f"model.custom.{name}", row, types, choices, None, "", owners)


def _by_family(defaults: Mapping[str, Any]) -> str:
    """`4096 (llama3, llama4), 2048 (deepseek_v3)`; without the names when all families have the key and agree."""
    families: dict[str, list[str]] = {}
    for family, value in defaults.items():
        shown = "unset" if value is None else json.dumps(value).removesuffix(".0")
        families.setdefault(shown, []).append(family)
    if len(families) == 1 and len(defaults) == len(source.FAMILIES):
        return next(iter(families))
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in families.items())


def _key(
    name: str, row: Mapping[str, Any], types: tuple[str, ...], choices: Any, default: Any, help_text: str, owner: str
) -> Key:
    return Key(
        name=name,
        types=types,
        default=default,
        help=row.get("help") or _first_sentence(help_text),
        group=name.split(".")[0],
        choices=tuple(row["choices"]) if "choices" in row else choices,
        minimum=row.get("above", row.get("minimum")),
        maximum=row.get("maximum"),
        exclusive_minimum="above" in row,
        source=owner,
    )


def _first_sentence(text: str) -> str:
    sentence = re.split(r"(?<=\.)\s", text)[0]
    if not sentence or len(sentence) > _HELP_LIMIT:
        raise ValueError(f"torchtitan's docstring does not do as help; add a line to torchtitan_keys.yaml: {text!r}")
    return sentence


def _answers() -> dict[str, Answer]:
    table = _read("torchtitan_answers.yaml")
    found = dict(_renamed(table["renamed"]))
    for name, to in table["newer"].items():
        found[name] = Answer(action="renamed", to=to, message=f"is torchtitan 0.3's name for {to}.")
    for name in table["newer_only"]:
        found[name] = Answer(action="refuse", message=f"{source.NEWER}; Primus runs 0.2.2, which has nothing like it.")
    for action in ("warn", "refuse"):
        for name, row in table[action].items():
            harmless = tuple(row.get("harmless", ()))
            found[name] = Answer(action=action, message=row["message"], harmless=harmless)
    return found


def _renamed(table: Mapping[str, Any]) -> Iterator[tuple[str, Answer]]:
    for name, row in table.items():
        message = f"is called {row['to']} since torchtitan {row['since']}. {row.get('note', '')}".strip()
        values = tuple((old, new) for old, new in row.get("values", ()))
        yield name, Answer(action="renamed", to=row["to"], message=message, values=values)


def _family(family: source.Family) -> dict[str, Any]:
    """What the checks need to know of a family: its sizes by flavor."""
    sizes = [field.name for field in family.fields if field.name not in NOT_SIZES]
    return {
        "pipelining": family.pipelining,
        "validation": family.validation,
        "sizes": sizes,
        "defaults": {field.name: field.default for field in family.fields},
        "flavors": {name: dict(_flat(values, "")) for name, values in family.flavors.items()},
    }


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _agree(keys: Mapping[str, Key], described: Mapping[str, Any], answers: Mapping[str, Answer]) -> None:
    names = {name for group, table in described.items() for name in (_custom(table) if group == "custom" else table)}
    wrong = [f"{name} is described, and no key" for name in sorted(names - set(keys))]
    rows = [(name, row) for table in described.values() for name, row in table.items()]
    wrong += [f"{name}: what is {set(row) - _ROW}?" for name, row in rows if set(row) - _ROW]
    wrong += [f"{name} is a key, and answered too" for name in sorted(set(keys) & set(answers))]
    wrong += [
        f"{name} is renamed to {a.to}, which is no key" for name, a in answers.items() if a.to and a.to not in keys
    ]
    if wrong:
        raise ValueError("\n".join(wrong))


def _custom(table: Mapping[str, Any]) -> list[str]:
    return [f"model.custom.{name}" for name in table]


def _read(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


def write_flavors(path: Path, flavors: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(flavors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    schema, flavors = generate()
    write_schema(TARGET / "schema.json", schema)
    write_flavors(TARGET / "flavors.json", flavors)
    print(f"{schema.version}: {len(schema.keys)} keys, {len(schema.answers)} answers")

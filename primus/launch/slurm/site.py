"""The defaults of a cluster and its users: the file that comes with Primus, and over it the user's own. The commands
settle with them what an option means that nobody gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from primus.errors import MissingError, UsageError
from primus.experiment.leaf import Source
from primus.experiment.model import Value
from primus.experiment.paths import configs_dir, shown
from primus.experiment.toml_file import parse_toml
from primus.launch.slurm.options import RULES, Options, unknown

VARIABLE = "PRIMUS_SLURM_CONFIG"


def settle(given: Mapping[str, Any], origins: Mapping[str, str], environ: Mapping[str, str]) -> _Settled:
    """The options that were given, and for the others those of the files, each with where it is from. UsageError with
    all problems of the files."""
    fields, places = dict(given), dict(origins)
    for name, value in read_site(environ).items():
        if fields.get(name) in (None, ()):
            fields[name] = tuple(value.data) if isinstance(value.data, list) else value.data
            places[name] = f"{value.origin} {name}"
    return replace(Options(), **fields), places


def read_site(environ: Mapping[str, str]) -> dict[str, Value]:
    """Every default of the files."""
    found: dict[str, Value] = {}
    problems: list[str] = []
    for path in _files(environ):
        for name, value in _read(path, environ, problems).items():
            reason = _wrong(name, value)
            if reason is None:
                found[name] = value
            else:
                problems.append(f"{value.origin}: {reason}")
    if problems:
        raise UsageError("\n".join(problems))
    return found


_Settled = tuple[Options, dict[str, str]]


def _files(environ: Mapping[str, str]) -> list[Path]:
    """Those that are there, the strongest last."""
    shipped = configs_dir() / "slurm.toml"
    named = environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise MissingError(f"{VARIABLE}: there is no file {named}")
        return [shipped, Path(named)]
    home = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".config"
    own = Path(home) / "primus" / "slurm.toml"
    return [shipped, own] if own.is_file() else [shipped]


def _read(path: Path, environ: Mapping[str, str], problems: list[str]) -> dict[str, Value]:
    source = Source(shown(path), environ, [])
    tree: Mapping[str, Any] = parse_toml(path.read_text(encoding="utf-8"), source) or {}
    problems += [str(problem) for problem in source.problems]
    problems += [
        f"{path}: [{name}]: expected NAME = VALUE, without sections" for name in tree if _is_section(tree, name)
    ]
    return {name: node for name, node in tree.items() if isinstance(node, Value)}


def _is_section(tree: Mapping[str, Any], name: str) -> bool:
    return not isinstance(tree[name], Value)


def _wrong(name: str, value: Value) -> str | None:
    """What is wrong with the kind of a value; options.problems() looks at what it says."""
    if name not in RULES:
        return unknown(name)
    kind, data = RULES[name].kind, value.data
    if kind is list:
        right = isinstance(data, list) and all(isinstance(item, str) for item in data)
        return None if right else f"{name}: expected a list of texts"
    if isinstance(data, kind) and not (kind is int and isinstance(data, bool)):
        return None
    return f"{name} = {data!r}: expected {_KINDS[kind]}"


_KINDS = {str: "text, in quotes", int: "a number", bool: "true or false"}

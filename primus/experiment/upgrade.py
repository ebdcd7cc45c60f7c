"""A file rewritten to today's keys, everything else left as it was written. `config upgrade` prints it.

Keys that a schema answers with `renamed` move; how text is edited without losing a comment is for edit_toml.py and
edit_yaml.py to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from primus.errors import ExperimentError, Origin, Problem
from primus.experiment.answers import follow, is_harmless
from primus.experiment.dialect import MODULE
from primus.experiment.domain import same
from primus.experiment.dump import format_data
from primus.experiment.edit import CantEdit, Move
from primus.experiment.files import read
from primus.experiment.load import BARE_FRAMEWORK
from primus.experiment.model import Section, Tree, Value
from primus.experiment.paths import shown
from primus.experiment.schema import Schema


class Upgraded(NamedTuple):
    """A file in today's keys."""

    text: str
    notes: list[Problem]
    """What moved, each with the line where it stood."""


def upgrade(path: Path, schema: Schema) -> Upgraded:
    """The new text of a file. The file itself is not touched.

    Raises ExperimentError when it can't be read, or when a key stands where it can't be moved without rewriting what
    is around it.
    """
    root = _read(path)
    above, section = _keys_of(root)
    found = [(value, move) for key, value in _leaves(section, ()) if (move := _move(key, value, schema)) is not None]
    _refuse_doubles(found, section)
    with path.open(encoding="utf-8-sig", newline="") as file:  # the ends of the lines stay as they are
        text = file.read()
    if found:
        moves = [move for _, move in found]
        try:
            text = _edit(path, text, above, moves)
        except CantEdit as error:
            where = Origin(kind="file", name=shown(path), line=error.line)
            raise ExperimentError([Problem(where=where, message=f"{error}; change it by hand")]) from error
    return Upgraded(text=text, notes=[_note(value, move) for value, move in found])


def framework_of(path: Path) -> str | None:
    """The framework that a file names, or that a job file is for; None when it leaves that open."""
    root = _read(path)
    if "modules" not in root:
        return BARE_FRAMEWORK if path.suffix == ".toml" else None
    modules = root["modules"]
    module = modules.get(MODULE) if isinstance(modules, Section) else None
    framework = module.get("framework") if isinstance(module, Section) else None
    return str(framework.data) if isinstance(framework, Value) else None


def _edit(path: Path, text: str, above: tuple[str, ...], moves: list[Move]) -> str:
    if path.suffix == ".toml":
        from primus.experiment.edit_toml import move_keys
    else:
        from primus.experiment.edit_yaml import move_keys
    return move_keys(text, above, moves)


def _read(path: Path) -> Section:
    problems: list[Problem] = []
    root = read(path, _Names(), problems)
    if root is None or problems:
        raise ExperimentError(problems)
    return root


class _Names(Mapping[str, str]):
    """An environment in which each variable holds a reference to itself, so that reading replaces nothing."""

    def __getitem__(self, name: str) -> str:
        return f"${{{name}}}"

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def _keys_of(root: Section) -> tuple[tuple[str, ...], Section]:
    """The section that holds the framework's keys and its path: the overrides of an experiment, else the whole file."""
    path = ("modules", MODULE, "overrides")
    node: Section | Value = root
    for name in path:
        if not isinstance(node, Section) or name not in node:
            # An experiment that overrides nothing has no such keys; a preset or a job file has nothing else.
            return ((), root) if "modules" not in root else (path, Section(root.origin, ""))
        node = node[name]
    return path, node if isinstance(node, Section) else Section(root.origin, "")


def _leaves(tree: Tree, above: tuple[str, ...]) -> list[tuple[tuple[str, ...], Value]]:
    found = []
    for name, node in tree.items():
        found += [((*above, name), node)] if isinstance(node, Value) else _leaves(node, (*above, name))
    return found


def _move(key: tuple[str, ...], value: Value, schema: Schema) -> Move | None:
    name, data, passed = follow(".".join(key), schema, value.data)
    if not passed or name not in schema.keys or is_harmless(passed[0], value.data):
        return None
    changed = not same(data, value.data)
    if value.origin.variables and any(answer.values for answer in passed):
        message = f"is now {name}, with other values; they come from a variable here. Change it by hand."
        raise ExperimentError([Problem(where=value.origin, key=value.path, message=message)])
    return Move(key, tuple(name.split(".")), data, changed)


def _refuse_doubles(found: list[tuple[Value, Move]], section: Section) -> None:
    problems = []
    there = dict(_leaves(section, ()))
    for value, move in found:
        other = there.get(move.new)
        if other is not None:
            message = f"is now {'.'.join(move.new)}, which is given as well ({other.origin}); keep one of them"
            problems.append(Problem(where=value.origin, key=value.path, message=message))
        there[move.new] = value
    if problems:
        raise ExperimentError(problems)


def _note(value: Value, move: Move) -> Problem:
    written = f": {format_data(move.data)}" if move.changed else ""
    return Problem(
        where=value.origin, key=".".join(move.old), message=f"now {'.'.join(move.new)}{written}", severity="warning"
    )

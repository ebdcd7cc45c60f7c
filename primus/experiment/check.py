"""An experiment against a backend's schema: unknown keys, types, domains, and keys of other versions.

Every command that uses an experiment calls `resolve` and goes on with what it returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from primus.errors import Origin, Problem
from primus.experiment.answers import find_answer, follow, is_harmless
from primus.experiment.domain import fit
from primus.experiment.dump import format_data
from primus.experiment.merge import over
from primus.experiment.model import Experiment, Section, Tree, Value
from primus.experiment.scalar import resolve as read_scalar
from primus.experiment.schema import Schema
from primus.experiment.unknown import explain_unknown


def check(experiment: Experiment, schema: Schema, others: Iterable[Schema] = ()) -> list[Problem]:
    """Everything that is wrong or doubtful in an experiment.

    `others` are the schemas of the other backends, to tell whose key an unknown one is.
    """
    return resolve(experiment, schema, others)[1]


def resolve(experiment: Experiment, schema: Schema, others: Iterable[Schema] = ()) -> tuple[Experiment, list[Problem]]:
    """The experiment as the backend takes it, and all problems.

    Keys with old names stand under today's, keys that are answered with a warning or that change nothing are gone,
    and every value has a type that the schema wants: what does not fit is left out as well. When a problem is an
    error, the experiment must not be used; further checks may still read it.
    """
    resolver = _Resolver(experiment, schema, tuple(others))
    for key, node in _nodes(experiment.values, ""):
        resolver.place(key, node)
    return replace(experiment, values=resolver.values()), resolver.problems


class _Resolver:
    def __init__(self, experiment: Experiment, schema: Schema, others: tuple[Schema, ...]) -> None:
        self.schema = schema
        self.others = others
        self.problems: list[Problem] = []
        self.rank = {name: rank for rank, name in enumerate(experiment.sources)}
        self.origin = Origin(kind="file", name=str(experiment.path))
        self.found: dict[str, list[Value | Section]] = {}
        """What was given for each key; more than one value when a key is also given under an old name."""

    def place(self, key: str, node: Value | Section) -> None:
        """Decide what becomes of one value: taken, taken under another name, left out, or refused."""
        if key in self.schema.keys or self._is_in_table(key):
            self.found.setdefault(key, []).append(node)
        elif isinstance(node, Value) and (answered := find_answer(key, self.schema)) is not None:
            if is_harmless(answered.answer, _meant(node)):
                return
            if answered.answer.action == "renamed":
                self._rename(key, node)
            else:
                self._answer(node, answered.answer.action, answered.answer.message)
        elif isinstance(node, Value) or not self._is_section(key):
            self._report(node, explain_unknown(key, self.schema, self.others))

    def values(self) -> Section:
        """What was taken, as a tree."""
        root = Section(self.origin, "")
        for key, nodes in self.found.items():
            node = self._winner(nodes)
            fitted = self._fitted(key, node) if key in self.schema.keys else node
            if fitted is not None:
                self._insert(root, key, fitted)
        return root

    def _insert(self, root: Section, key: str, node: Value | Section) -> None:
        *sections, name = key.split(".")
        parent = root
        for section in sections:
            below = parent.setdefault(section, Section(node.origin, node.path))
            if isinstance(below, Value):
                self._report(node, f"goes into the section {section}, which is a single value in {below.origin}")
                return
            parent = below
        parent[name] = node

    def _rename(self, key: str, node: Value) -> None:
        target, data, answers = follow(key, self.schema, _meant(node))
        if target not in self.schema.keys:
            self._report(node, explain_unknown(target, self.schema, self.others))
            return
        notes = " ".join(answer.message for answer in answers)
        self._report(node, f"{notes} Write `{target}: {format_data(data)}`.", "warning")
        self.found.setdefault(target, []).append(replace(node, data=data))

    def _answer(self, node: Value, action: str, message: str) -> None:
        if action == "warn":
            self._report(node, f"{message} Primus goes on without it.", "warning")
        else:
            self._report(node, message)

    def _winner(self, nodes: list[Value | Section]) -> Value | Section:
        """The value of highest precedence; two for the same key in one file contradict each other."""
        if len(nodes) == 1:
            return nodes[0]
        best, *others = sorted(nodes, key=self._rank, reverse=True)
        for node in others:
            if self._rank(node) == self._rank(best):
                self._report(best, f"is also given as {node.path} ({node.origin}); keep one of them")
            elif isinstance(best, Value) and isinstance(node, Value):
                best = over(node, best)
        return best

    def _rank(self, node: Value | Section) -> int:
        """Position of the value's file in the order of precedence; options come last."""
        return self.rank.get(node.origin.name, len(self.rank)) if node.origin.kind == "file" else len(self.rank)

    def _fitted(self, key: str, node: Value | Section) -> Value | Section | None:
        """The value with the type that the schema wants; None when it does not fit."""
        data = node.data if isinstance(node, Value) else {}
        variables = node.origin.variables
        try:
            fitted = fit(self.schema.keys[key], data, from_variables=bool(variables))
        except ValueError as error:
            named = ", ".join(f"${name}" for name in variables)
            self._report(node, f"{error}{f' (from {named})' if named else ''}")
            return None
        return node if isinstance(node, Section) or fitted is data else replace(node, data=fitted)

    def _is_in_table(self, key: str) -> bool:
        section = key.rpartition(".")[0]
        while section:
            if section in self.schema.keys:
                return "table" in self.schema.keys[section].types
            section = section.rpartition(".")[0]
        return False

    def _is_section(self, key: str) -> bool:
        return any(name.startswith(f"{key}.") for name in (*self.schema.keys, *self.schema.answers))

    def _report(self, node: Value | Section, message: str, severity: Literal["error", "warning"] = "error") -> None:
        self.problems.append(Problem(where=node.origin, key=node.path, message=message, severity=severity))


def _nodes(tree: Tree, prefix: str) -> Iterator[tuple[str, Value | Section]]:
    """Every value and every empty section with its dotted key."""
    for name, node in tree.items():
        if isinstance(node, Value) or (isinstance(node, Section) and not node):
            yield prefix + name, node
        elif not isinstance(node, Value):
            yield from _nodes(node, f"{prefix}{name}.")


def _meant(value: Value) -> object:
    """The value; quoted text that came from variables is read as if it had no quotes."""
    if isinstance(value.data, str) and value.data and value.origin.variables:
        try:
            return read_scalar(value.data)
        except ValueError:
            return value.data
    return value.data

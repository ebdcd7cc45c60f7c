"""The Experiment and the values in it. load.py makes one from a file; check.py holds it against a Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primus.errors import Origin, Problem


class Reference(str):
    """Text with `${VARIABLE}` in it that is kept as it is, for who reads the effective experiment: a secret."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A leaf of an experiment: what the user wrote, and where."""

    data: Any
    """None, bool, int, float, str, or a list of plain data."""

    origin: Origin
    path: str
    """Dotted path in the file it came from, as an error message shows it."""

    replaced: Value | None = None
    """The value that this one overrode, with its own origin."""


Tree = Mapping[str, "Tree | Value"]
"""Nested sections with Values as leaves. An empty section is an empty mapping."""


class Section(dict[str, "Section | Value"]):
    """A section as loading makes it: a Tree that also knows where it stands."""

    __slots__ = ("origin", "path")

    def __init__(self, origin: Origin, path: str, items: Mapping[str, Section | Value] | None = None) -> None:
        super().__init__(items or {})
        self.origin = origin
        self.path = path


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """One training run as its author described it: presets, file, environment and options merged."""

    path: Path
    """The experiment file."""

    framework: str
    """Name of the backend, for instance `megatron`."""

    work_group: str
    user_name: str
    exp_name: str
    workspace: str
    """Root of everything that a run writes; relative paths are taken from the working directory."""

    module: str = "pre_trainer"
    config: str | None = None
    """Name of the module preset, as written."""

    model: str | None = None
    """Name of the model preset, as written."""

    header: Tree
    """The four values above, `framework`, and `config` and `model` when the experiment names them, with their
    origins."""

    values: Tree
    """The framework's own keys, merged; flat for megatron, sections for torchtitan."""

    sources: tuple[str, ...] = ()
    """The files that were merged, lowest precedence first, named as in an Origin."""

    warnings: tuple[Problem, ...] = ()
    """Notes for the user that loading found."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that References among the values name, with what they stand for; withhold.py fills it."""

    def plain(self) -> dict[str, Any]:
        """`values` without origins, as nested plain data."""
        return _plain(self.values)

    def leaves(self) -> Iterator[tuple[str, Value]]:
        """Every value with its dotted key, in the order of the merged files."""
        return _leaves(self.values, "")

    def find(self, key: str) -> Value | None:
        """The value of a dotted key, or None when nobody set it."""
        node: Tree | Value | None = self.values
        for part in key.split("."):
            if not isinstance(node, Mapping):
                return None
            node = node.get(part)
        return node if isinstance(node, Value) else None

    @property
    def folder(self) -> Path:
        """`<workspace>/<work_group>/<user_name>/<exp_name>`: checkpoints/ and runs/ live here."""
        return Path(self.workspace) / self.work_group / self.user_name / self.exp_name


def _plain(tree: Tree) -> dict[str, Any]:
    return {name: node.data if isinstance(node, Value) else _plain(node) for name, node in tree.items()}


def _leaves(tree: Tree, prefix: str) -> Iterator[tuple[str, Value]]:
    for name, node in tree.items():
        if isinstance(node, Value):
            yield prefix + name, node
        else:
            yield from _leaves(node, f"{prefix}{name}.")

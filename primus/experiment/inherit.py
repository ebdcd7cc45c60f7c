"""A file with everything that it inherits through `bases:` and `extends:`. load.py reads every file through this."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from primus.errors import Problem, did_you_mean
from primus.experiment.dialect import wrap_bare
from primus.experiment.files import read
from primus.experiment.merge import merge_all
from primus.experiment.model import Section, Value
from primus.experiment.paths import Kind, find_beside, find_preset, frameworks, shipped, shown, stem

INHERIT_KEYS = ("bases", "extends")


Cache = dict[tuple[Path, Kind, str], tuple[Section, list[str]]]
"""Presets that were read before, each merged with its bases and with the files that it was made of. Several loads may
share one while environment, working directory and files stay the same."""


class Files:
    """Reads files for one experiment and keeps what they have in common."""

    def __init__(self, environ: Mapping[str, str], cache: Cache | None = None) -> None:
        self.environ = environ
        self.cache = cache
        self.problems: list[Problem] = []
        self.sources: list[str] = []
        """Every file that was merged, lowest precedence first."""
        self.has_job_file = False
        """Whether one of the experiment's files is TOML without `modules`."""

    def inherited(self, path: Path, kind: Kind, framework: str, chain: tuple[Path, ...] = ()) -> Section | None:
        """The file merged over its bases: the later base wins over the earlier, the file wins over all."""
        own = read(path, self.environ, self.problems)
        if own is None:
            return None
        chain = (*chain, path)
        trees = []
        for base in self._bases(own):
            found = self._find_base(base, kind, framework, chain)
            if found is not None and not self._is_cycle(found, base, chain):
                tree = self.inherited(found, kind, framework, chain)
                trees += [] if tree is None else [tree]
        self.sources.append(shown(path))
        if kind == "experiments" and path.suffix == ".toml" and "modules" not in own:
            self.has_job_file = True
            own = wrap_bare(own)
        _accept_empty_sections(own)
        return merge_all([*trees, own], self.problems)

    def preset(self, name: Value, kind: Kind, framework: str) -> Section | None:
        """The preset that `config:` or `model:` names: a path beside the naming file, or a shipped preset."""
        if not isinstance(name.data, str) or not name.data:
            self._problem(name, f"expected the name of a preset, got {name.data!r}")
            return None
        path = self._find_preset(name, kind, framework)
        return None if path is None else self._cached(path, kind, framework)

    def _cached(self, path: Path, kind: Kind, framework: str) -> Section | None:
        """As `inherited`; a preset without problems is read once for all loads that share a cache."""
        if self.cache is None:
            return self.inherited(path, kind, framework)
        key = (path, kind, framework)
        if key not in self.cache:
            problems, sources = len(self.problems), len(self.sources)
            tree = self.inherited(path, kind, framework)
            if tree is None or len(self.problems) > problems:
                return tree
            self.cache[key] = (tree, self.sources[sources:])
            return tree
        tree, files = self.cache[key]
        self.sources += files
        return tree

    def _bases(self, own: Section) -> list[Value]:
        """One Value per base, out of `own`, which loses the key."""
        given = [own.pop(key) for key in INHERIT_KEYS if key in own]
        if len(given) > 1:
            message = f"`bases` is also given ({given[0].origin}); keep one"
            self.problems.append(Problem(where=given[1].origin, key="extends", message=message))
        bases: list[Value] = []
        for node in given:
            names = node.data if isinstance(node, Value) else None
            names = [names] if isinstance(names, str) else names
            if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
                bases += [Value(data=name, origin=node.origin, path=node.path) for name in names]
            elif isinstance(node, Section) or node.data is not None:
                self.problems.append(
                    Problem(where=node.origin, key=node.path, message="expected a file name or a list of file names")
                )
        return bases

    def _find_base(self, base: Value, kind: Kind, framework: str, chain: tuple[Path, ...]) -> Path | None:
        beside = find_beside(base.data, chain[-1].parent)
        by_name = find_preset(kind, framework, base.data)
        if kind == "experiments" and by_name is None:
            by_name = _any_experiment(base.data)
        # A file that is named like the shipped one that it extends means the shipped one.
        if beside is not None and not (by_name is not None and _same(beside, chain[-1])):
            return beside
        if by_name is None:
            through = f" (inherited through {' → '.join(shown(path) for path in chain)})" if len(chain) > 1 else ""
            self._problem(base, f"no file {base.data!r} beside it, and {_unknown(base.data, kind, framework)}{through}")
        return by_name

    def _find_preset(self, name: Value, kind: Kind, framework: str) -> Path | None:
        folder = Path(name.origin.name).parent if name.origin.kind == "file" else Path()
        beside = find_beside(name.data, folder)
        by_name = find_preset(kind, framework, name.data)
        # An experiment is often named like its model: `llama3_8B.yaml` with `model: llama3_8B.yaml`.
        if beside is not None and not (by_name is not None and self._is_experiment(beside)):
            return beside
        if by_name is None:
            self._problem(name, f"no file {name.data!r} beside it, and {_unknown(name.data, kind, framework)}")
        return by_name

    def _is_experiment(self, path: Path) -> bool:
        tree = read(path, self.environ, [])
        return tree is not None and "modules" in tree

    def _is_cycle(self, found: Path, base: Value, chain: tuple[Path, ...]) -> bool:
        if not any(_same(found, path) for path in chain):
            return False
        names = " → ".join(shown(path) for path in (*chain, found))
        self._problem(base, f"inherits from itself: {names}")
        return True

    def _problem(self, value: Value, message: str) -> None:
        self.problems.append(Problem(where=value.origin, key=value.path, message=message))


def _accept_empty_sections(own: Section) -> None:
    """`modules:`, `pre_trainer:` and `overrides:` with nothing below them are empty sections, not null."""
    _empty_section(own, "modules")
    modules = own.get("modules")
    if isinstance(modules, Section):
        for name in modules:
            _empty_section(modules, name)
            module = modules[name]
            if isinstance(module, Section):
                _empty_section(module, "overrides")


def _empty_section(section: Section, name: str) -> None:
    node = section.get(name)
    if isinstance(node, Value) and node.data is None:
        section[name] = Section(node.origin, node.path)


def _any_experiment(name: str) -> Path | None:
    inner, _, last = name.rpartition("/")
    choices = [inner] if inner else frameworks("experiments")
    return next((found for each in choices if (found := find_preset("experiments", each, last))), None)


def _unknown(name: str, kind: Kind, framework: str) -> str:
    what = {"experiments": "experiment", "modules": "module preset", "models": "model preset"}[kind]
    searched = frameworks(kind) if kind == "experiments" else [framework]
    names = [found for each in searched for found in shipped(kind, each)]
    if framework and not names:
        ships = frameworks(kind)
        near = did_you_mean(framework, ships)
        return f"Primus ships no {what}s for {framework}.{near} It does for {', '.join(ships)}."
    near = did_you_mean(stem(Path(name)), names)
    listed = f" Shipped: {', '.join(names)}." if names and not near else ""
    return f"no shipped {what} of that name.{near}{listed}"


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)

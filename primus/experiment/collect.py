"""The experiment files and presets below folders, for `primus config check`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from primus.experiment.paths import SUFFIXES, Kind, configs_dir

_YAML_EXPERIMENT = re.compile(rb"""^[{"']*(modules|bases|extends)["']?[ \t]*:""", re.MULTILINE)
_TOML_SECTION = re.compile(rb"""^[ \t]*\[*[ \t]*["']?(?P<name>[A-Za-z0-9_-]+)""", re.MULTILINE)
_PRESETS: tuple[Kind, ...] = ("models", "modules")


class Candidate(NamedTuple):
    """A file to check."""

    path: Path
    kind: Kind
    framework: str | None
    """Of a preset, which lies in `models/<framework>/` or `modules/<framework>/`."""


def classify(path: Path, frameworks: Callable[[], Collection[str]]) -> Candidate:
    """What a file is that a user named: a preset where the presets of one of the frameworks lie, else an experiment."""
    folder = path.absolute().parent
    for kind in _PRESETS:
        if folder.parent.name == kind and folder.name in frameworks():
            return Candidate(path, kind, folder.name)
    return Candidate(path, "experiments", None)


def collect(
    folder: Path, frameworks: Callable[[], Collection[str]], job_sections: Iterable[str]
) -> tuple[list[Candidate], list[Path]]:
    """The experiments and presets in a folder and below it, and the other YAML and TOML files, which are none.

    `job_sections` are the sections by which a job file of the framework is known, which has no `modules`.
    """
    sections = {"modules", "bases", "extends", *job_sections}
    found, others = [], []
    defaults = configs_dir() / "defaults.yaml"
    for path in _files(folder):
        if not path.is_file():  # a link to nowhere, a pipe
            others.append(path)
            continue
        candidate = classify(path, frameworks)
        if candidate.kind != "experiments" or _is_experiment(path, sections):
            found.append(candidate)
        elif not (path.name == defaults.name and path.samefile(defaults)):
            others.append(path)
    return found, others


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(root, name)


def _is_experiment(path: Path, sections: set[str]) -> bool:
    """Told from the text, so that one with a syntax error is known as well."""
    content = path.read_bytes()
    if path.suffix != ".toml":
        return _YAML_EXPERIMENT.search(content) is not None
    return any(match["name"].decode() in sections for match in _TOML_SECTION.finditer(content))

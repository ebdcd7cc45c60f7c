"""An experiment file, its presets, the environment and the options to one Experiment. The commands and workers call it.

Loading is pure: it reads files and the environment it is given, and creates nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from primus.errors import ExperimentError, Origin, UsageError
from primus.experiment.dialect import MODULE, check_names, read_module
from primus.experiment.inherit import Cache, Files
from primus.experiment.leaf import NAMES
from primus.experiment.merge import merge, merge_all
from primus.experiment.model import Experiment, Section, Tree, Value
from primus.experiment.options import parse_set
from primus.experiment.paths import Kind, configs_dir, find_experiment, shown, stem

BARE_FRAMEWORK = "torchtitan"
"""Whose job file a TOML without `modules` is."""


def load(
    exp: str | Path,
    *,
    sets: Sequence[str] = (),
    framework: str | None = None,
    environ: Mapping[str, str] = os.environ,
    cache: Cache | None = None,
) -> Experiment:
    """The experiment in the file `exp`, or the shipped one of that name, with `--set` options over it.

    `framework` is what `--backend` says: it chooses among shipped experiments of one name, and decides for a file
    that names no framework. `cache` saves reading presets again when many experiments are loaded. Raises
    ExperimentError with every problem, MissingError when there is no such file.
    """
    files = Files(environ, cache)
    defaults = _defaults(files)
    default_framework = defaults.pop("framework")
    path = find_experiment(str(exp), framework, _text(default_framework))
    root = files.inherited(path, "experiments", "")
    if root is None:
        raise ExperimentError(files.problems)
    if files.has_job_file:
        job_file = Origin(kind="default", name="a TOML file without modules")
        default_framework = Value(data=BARE_FRAMEWORK, origin=job_file, path="framework")
    options = [parse_set(text, MODULE, environ, files.problems) for text in sets]
    root = merge_all([root, *(option for option in options if option is not None)], files.problems)
    experiment = _assemble(path, root, defaults, _asked(framework), default_framework, files)
    if any(problem.severity == "error" for problem in files.problems):
        raise ExperimentError(files.problems)
    return experiment


def find(exp: str, *, environ: Mapping[str, str] = os.environ) -> Path:
    """The file that a name means on the command line; MissingError when there is none."""
    return find_experiment(exp, None, _text(_defaults(Files(environ))["framework"]))


def load_preset(path: Path, kind: Kind, framework: str, *, environ: Mapping[str, str] = os.environ) -> Experiment:
    """A module or model preset by itself, as an experiment of nothing else: to check it, or to show its values."""
    files = Files(environ)
    values = files.inherited(path, kind, framework)
    if values is None or files.problems:
        raise ExperimentError(files.problems)
    return Experiment(
        path=path,
        framework=framework,
        work_group="",
        user_name="",
        exp_name=stem(path),
        workspace="",
        header={},
        values=values,
        sources=tuple(files.sources),
    )


def _defaults(files: Files) -> dict[str, Value]:
    """configs/defaults.yaml: the values of the names, and of the framework, that an experiment does not give."""
    tree: Tree = files.inherited(configs_dir() / "defaults.yaml", "experiments", "") or {}
    files.sources.clear()
    return {key: node for key, node in tree.items() if isinstance(node, Value)}


def _assemble(
    path: Path, root: Section, defaults: dict[str, Value], asked: Value | None, default_framework: Value, files: Files
) -> Experiment:
    problems, experiment_files = files.problems, files.sources
    file_name = Value(data=stem(path), origin=Origin(kind="file", name=shown(path)), path="exp_name")
    below = Section(root.origin, "", {"exp_name": file_name, **defaults})
    header = merge(below, Section(root.origin, "", {key: root[key] for key in root if key in NAMES}), problems)
    names = check_names(header, problems)
    module = read_module(root, problems)
    framework = module.framework or asked or default_framework
    if asked is not None and framework.data != asked.data:
        raise UsageError(f"{framework.origin} says framework: {framework.data}, but {asked.origin} was given")
    header["framework"] = framework
    files.sources = []
    trees: list[Section] = []
    presets: tuple[tuple[str, Value | None, Kind], ...] = (
        ("config", module.config, "modules"),
        ("model", module.model, "models"),
    )
    for key, preset, kind in presets:
        if preset is not None:
            header[key] = preset
            tree = None if module.effective else files.preset(preset, kind, _text(framework))
            trees += [] if tree is None else [tree]
    return Experiment(
        path=path,
        framework=_text(framework),
        work_group=names["work_group"],
        user_name=names["user_name"],
        exp_name=names["exp_name"],
        workspace=names["workspace"],
        config=None if module.config is None else _text(module.config),
        model=None if module.model is None else _text(module.model),
        header=header,
        values=merge_all([*trees, module.overrides], problems),
        sources=(*files.sources, *experiment_files),
        warnings=tuple(problem for problem in problems if problem.severity == "warning"),
    )


def _asked(framework: str | None) -> Value | None:
    """The framework that the command line asks for, as a Value."""
    if framework is None:
        return None
    return Value(data=framework, origin=Origin(kind="option", name=f"--backend {framework}"), path="framework")


def _text(value: Value) -> str:
    return str(value.data)

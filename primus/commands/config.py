"""`primus config`: experiments shown, checked, compared, explained and brought up to date. cli.py loads `app`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primus.backends import registry
from primus.backends.prepare import prepare, warn
from primus.commands.completion import complete_experiment, complete_key, complete_set
from primus.errors import ExitStatus, ExperimentError, MissingError, Origin, Problem, UsageError, did_you_mean
from primus.experiment import Experiment, Schema
from primus.experiment.paths import shown

if TYPE_CHECKING:
    from primus.experiment.collect import Candidate
    from primus.experiment.inherit import Cache

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)

_Experiment = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        envvar="EXP",
        help="Experiment file, or the name of a shipped one.",
        autocompletion=complete_experiment,
    ),
]
_Backend = Annotated[
    str | None, typer.Option("--backend", metavar="NAME", help="For a file or a name that leaves the backend open.")
]
_Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value; can be repeated.", autocompletion=complete_set),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(help="Show and check experiments.")
def _config() -> None:
    pass


@app.command(short_help="Show what an experiment means, and where each value comes from.")
def show(
    exp: _Experiment,
    backend: _Backend = None,
    sets: _Sets = None,
    as_json: _Json = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print an experiment file that stands alone.")] = False,
) -> None:
    """Show what an experiment means: every value, where it comes from, and what it overrode."""
    from primus.experiment import dump
    from primus.experiment.show import as_json as to_json
    from primus.experiment.show import as_text as to_text

    if as_json and as_yaml:
        raise UsageError("--json and --yaml exclude each other")
    experiment, schema = _load(exp, backend, sets)
    if as_yaml:
        print(dump(experiment), end="")
    else:
        print(_json(to_json(experiment, schema)) if as_json else to_text(experiment, schema))


@app.command(short_help="Check experiments and presets.")
def check(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Experiment files, presets, names of shipped experiments, or folders to look through.",
            autocompletion=complete_experiment,
        ),
    ],
    as_json: _Json = False,
) -> None:
    """Check experiments and presets, and list everything that is wrong.

    Leaves with status 3 when there is an error. In a folder, files that are neither experiments nor presets are left
    out; a preset is known by its place, models/BACKEND/ or modules/BACKEND/."""
    candidates, others = _candidates(paths)
    cache: Cache = {}
    placed = [_placed(problem, candidate) for candidate in candidates for problem in _problems(candidate, cache)]
    problems = {str(problem): problem for problem in placed}
    found = sorted(problems.values(), key=_place)
    errors = sum(problem.severity == "error" for problem in found)
    if as_json:
        files = [str(candidate.path) for candidate in candidates]
        print(_json({"files": files, "skipped": [str(path) for path in others], "problems": [*map(_row, found)]}))
    else:
        for problem in found:
            print(f"{'Warning: ' if problem.severity == 'warning' else ''}{problem}")
        print(_summary(len(candidates), errors, len(found) - errors, others))
    if errors:
        raise typer.Exit(ExitStatus.EXPERIMENT)


@app.command(short_help="Compare two experiments by what they mean.")
def diff(one: _Experiment, other: _Experiment, sets: _Sets = None, as_json: _Json = False) -> None:
    """Compare two experiments by what they mean: presets merged, old names resolved, defaults known.

    --set applies to both. Leaves with status 0 whether they differ or not."""
    from primus.experiment.diff import as_json as to_json
    from primus.experiment.diff import as_text as to_text
    from primus.experiment.diff import differences

    (left, schema), (right, _) = (_load(exp, None, sets) for exp in (one, other))
    if left.framework != right.framework:
        raise UsageError(f"{one} is for {left.framework}, {other} for {right.framework}: they share no keys")
    found = differences(left, right, schema)
    print(_json(to_json(found)) if as_json else to_text(found, (one, other)))


@app.command(short_help="Print a JSON Schema for editors.")
def schema(
    preset: Annotated[
        str | None, typer.Option(metavar="BACKEND", help="For module and model presets of a backend instead.")
    ] = None,
) -> None:
    """Print a JSON Schema for experiment files, so that editors complete and check them.

    For example, for the YAML extension of VS Code: primus config schema > .vscode/primus.json, and the line
    # yaml-language-server: $schema=.vscode/primus.json at the top of an experiment."""
    from primus.experiment.json_schema import experiment_schema, preset_schema
    from primus.experiment.load import BARE_FRAMEWORK

    if preset is not None:
        print(_json(preset_schema(registry.get(preset).schema())))
    else:
        print(_json(experiment_schema(_schemas(), BARE_FRAMEWORK)))


@app.command(short_help="Explain a key.")
def explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="lr, training.steps, …", autocompletion=complete_key)],
    backend: Annotated[str | None, typer.Option(metavar="NAME", help="Only this backend's key.")] = None,
    as_json: _Json = False,
) -> None:
    """Explain a key: what it takes, its default, what it does, and which shipped files set it."""
    from primus.experiment.answers import find_answer
    from primus.experiment.explain import as_json as to_json
    from primus.experiment.explain import as_text as to_text
    from primus.experiment.explain import uses

    schemas = _schemas() if backend is None else [registry.get(backend).schema()]
    found = [(each.keys[key], each, uses(key, each.backend, os.environ)) for each in schemas if key in each.keys]
    if found:
        print(_json([to_json(*each) for each in found]) if as_json else "\n\n".join(to_text(*each) for each in found))
        return
    answered = [(each.backend, answer.answer) for each in schemas if (answer := find_answer(key, each))]
    if not answered:
        near = did_you_mean(key, [name for each in schemas for name in (*each.keys, *each.answers)])
        raise UsageError(f"{' and '.join(each.backend for each in schemas)} have no key {key}.{near}")
    if as_json:
        print(_json([{"key": key, "backend": name, "answer": a.action, "message": a.message} for name, a in answered]))
    else:
        print("\n".join(f"{key}  ({name}): {answer.message}" for name, answer in answered))


@app.command(short_help="Print a file rewritten to today's keys.")
def upgrade(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An experiment, a job file or a preset.")],
    backend: _Backend = None,
) -> None:
    """Print a file rewritten to today's keys, with its comments and layout kept. The file is not touched.

    What was renamed is listed on standard error."""
    from primus.experiment.collect import classify
    from primus.experiment.upgrade import framework_of
    from primus.experiment.upgrade import upgrade as rewrite

    name = backend or classify(file, registry.names).framework or framework_of(file)
    if name is None:
        raise UsageError(f"{file} does not say for which framework it is; name it with --backend")
    upgraded = rewrite(file, registry.get(name).schema())
    print(upgraded.text, end="")
    for note in upgraded.notes:
        print(note, file=sys.stderr)


def _load(exp: str, backend: str | None, sets: list[str] | None) -> tuple[Experiment, Schema]:
    """A usable experiment; its warnings go to standard error."""
    prepared = prepare(exp, sets=sets or (), framework=backend, environ=os.environ)
    warn(prepared.warnings)
    return prepared.usable(), prepared.backend.schema()


def _schemas() -> list[Schema]:
    return [registry.get(name).schema() for name in registry.names()]


def _candidates(paths: list[str]) -> tuple[list[Candidate], list[Path]]:
    """The files to check, and the files in folders that are nothing to check."""
    from primus.experiment.collect import classify, collect
    from primus.experiment.load import BARE_FRAMEWORK, find

    backends = cache(registry.names)  # looking for them takes longer than a check
    found: list[Candidate] = []
    others: list[Path] = []
    for path in paths:
        if os.path.isdir(path):
            sections = {name.partition(".")[0] for name in registry.get(BARE_FRAMEWORK).schema().keys}
            inside, skipped = collect(Path(path), backends, sections)
            if not inside and not skipped:
                raise MissingError(f"{path}: there is no experiment or preset in this folder")
            found += inside
            others += skipped
        else:
            found.append(classify(find(path), backends))
    return list(dict.fromkeys(found)), others


def _problems(candidate: Candidate, cache: Cache) -> Iterable[Problem]:
    from primus.experiment import check as check_schema
    from primus.experiment.load import load_preset

    try:
        if candidate.framework is None:
            return prepare(str(candidate.path), environ=os.environ, cache=cache).problems
        preset = load_preset(candidate.path, candidate.kind, candidate.framework)
        return check_schema(preset, registry.get(candidate.framework).schema(), _schemas())
    except ExperimentError as error:
        return error.problems


def _placed(problem: Problem, candidate: Candidate) -> Problem:
    """The problem with the file it is in; one about a key that nobody set has no place of its own."""
    if problem.where is not None:
        return problem
    return replace(problem, where=Origin(kind="file", name=shown(candidate.path)))


def _place(problem: Problem) -> tuple[str, int]:
    where = problem.where
    return (where.name, where.line or 0) if where is not None else ("", 0)


def _row(problem: Problem) -> dict[str, Any]:
    where = problem.where
    return {
        "file": where.name if where is not None else None,
        "line": where.line if where is not None else None,
        "key": problem.key,
        "message": problem.message,
        "severity": problem.severity,
    }


def _summary(files: int, errors: int, warnings: int, others: list[Path]) -> str:
    counts = [_count(errors, "error")] if errors else ["no errors"]
    counts += [_count(warnings, "warning")] if warnings else []
    left_out = f" Not checked, since it is no experiment: {', '.join(map(str, others))}." if others else ""
    return f"{_count(files, 'file')}: {', '.join(counts)}.{left_out}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)

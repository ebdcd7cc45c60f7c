"""From the command line's words to a checked experiment and its backend. Commands and the Python
interface call it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from primus.backends import registry
from primus.backends.base import Backend
from primus.errors import ExperimentError, Origin, Problem
from primus.experiment import Experiment, Schema, Value, load, resolve
from primus.experiment.inherit import Cache
from primus.job import Resources


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An experiment as its backend takes it, and everything that was found wrong with it."""

    experiment: Experiment
    backend: Backend
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "warning"]

    @property
    def missing(self) -> list[Problem]:
        """Paths that are not on this machine."""
        return [problem for problem in self.problems if problem.severity == "missing"]

    def usable(self) -> Experiment:
        """The experiment; ExperimentError with all errors when it has any."""
        if self.errors:
            raise ExperimentError(self.errors)
        return self.experiment


def prepare(
    exp: str,
    *,
    sets: Sequence[str] = (),
    framework: str | None = None,
    resources: Resources | None = None,
    environ: Mapping[str, str],
    cache: Cache | None = None,
) -> Prepared:
    """Load an experiment and check it; with `resources`, also whether it can run on them. Pure.

    With a `cache`, presets that several experiments share are read once."""
    if framework is not None:
        registry.get(framework, Origin(kind="option", name=f"--backend {framework}"))
    loaded = load(exp, sets=sets, framework=framework, environ=environ, cache=cache)
    return judge(loaded, resources=resources, environ=environ)


def judge(loaded: Experiment, *, resources: Resources | None = None, environ: Mapping[str, str]) -> Prepared:
    """Check an experiment that was loaded. Pure."""
    named = loaded.header["framework"]
    installed = registry.get(loaded.framework, named.origin if isinstance(named, Value) else None)
    backend = installed.variant(environ)
    experiment, problems = resolve(loaded, backend.schema())
    if any(problem.severity == "error" for problem in problems):  # another backend's keys are named as such
        problems = resolve(loaded, backend.schema(), _other_schemas(backend))[1]
    wrong = [problem.key for problem in problems if problem.severity == "error"]
    beyond = [problem for problem in backend.check(experiment, resources) if not _is_about(problem, wrong)]
    return Prepared(experiment=experiment, backend=backend, problems=(*loaded.warnings, *problems, *beyond))


def warn(warnings: Iterable[Problem | str]) -> None:
    """Print them to standard error, without the secrets that a value may hold."""
    from primus.redact import redact_text

    for warning in warnings:
        print(redact_text(f"Warning: {warning}"), file=sys.stderr)


def _is_about(problem: Problem, wrong: Sequence[str]) -> bool:
    """Whether a problem is about a key whose value was refused already, and is only missing for that."""
    return any(key == problem.key or key.endswith(f".{problem.key}") for key in wrong)


def _other_schemas(backend: Backend) -> list[Schema]:
    return [registry.get(name).schema() for name in registry.names() if name != backend.name]

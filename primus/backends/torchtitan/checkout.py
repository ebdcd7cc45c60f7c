"""The torchtitan backend with a checkout ($TORCHTITAN_PATH) in place of the installed package: keys of that version,
and workers that import it. TorchtitanBackend.variant() makes one; the worker calls use()."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from primus.backends.base import Resume
from primus.backends.torchtitan import TorchtitanBackend, checks, source
from primus.backends.torchtitan.settings import Settings
from primus.errors import MissingError, Problem
from primus.experiment import Experiment, Schema
from primus.experiment.schema import Answer, Key
from primus.job import Job, Resources, Variable

VARIABLE = "TORCHTITAN_PATH"
CONFIG = "torchtitan/config/job_config.py"


class CheckoutBackend(TorchtitanBackend):
    """Training with the torchtitan of a checkout."""

    packages = ("torch", "tokenizers")

    def __init__(self, path: Path) -> None:
        """`path` is the checkout; MissingError when it is none that Primus can run."""
        self.path = path.absolute()
        if not (self.path / CONFIG).is_file():
            raise MissingError(
                f"${VARIABLE}: {self.path} is no torchtitan checkout that Primus can run: there is no {CONFIG}. "
                "Releases 0.2 have it; later ones are configured in Python."
            )

    @cached_property
    def _schema(self) -> Schema:
        return checkout_schema(super().schema(), self.path)

    def schema(self) -> Schema:  # type: ignore[override]  # the other one belongs to the class
        """The keys of the checkout's JobConfig, and those that are Primus' own."""
        return self._schema

    def check(self, experiment: Experiment, resources: Resources | None = None) -> list[Problem]:
        """As without a checkout; keys that only Primus' own version has count as not set."""
        own = super().schema()
        known = replace(own, keys={**own.keys, **self._schema.keys})
        return checks.check(Settings(experiment, known), resources)

    def plan(self, experiment: Experiment, resources: Resources, *, run_dir: Path, resume: Resume) -> Job:
        """The same workers; the environment tells them where torchtitan is."""
        job = super().plan(experiment, resources, run_dir=run_dir, resume=resume)
        chosen = Variable(name=VARIABLE, value=str(self.path), reason="its torchtitan trains, not the installed one")
        return replace(job, environment=(*job.environment, chosen))


def use(path: str | None) -> None:
    """Let imports of torchtitan find the checkout."""
    if path:
        sys.path.insert(0, path)
        print(f"torchtitan is the one in {path}.")


def checkout_schema(own: Schema, path: Path) -> Schema:
    """The keys of a checkout; `own` is the schema of the backend without one."""
    version = f"the torchtitan in {path}"
    fields = source.read_job_config(path / "torchtitan")
    present = {field.name for field in fields}
    answers = {name: answer for name, answer in own.answers.items() if not (name in present and _is_moved(answer))}
    keys = {key.name: key for field in fields if field.name not in answers for key in _keys(field, own)}
    ours = {name: key for name, key in own.keys.items() if name.startswith("model.custom.") or key.source == "Primus"}
    keys |= {name: key for name, key in ours.items() if name not in keys}
    for name, key in own.keys.items():
        if name not in keys and name not in answers:
            message = f"{version} has no such key, and would train without it; leave it out."
            answers[name] = Answer(action="refuse", message=message, harmless=(key.default,))
    return Schema(backend=own.backend, version=version, keys=keys, answers=answers)


def _is_moved(answer: Answer) -> bool:
    """Whether a key is answered only because other versions have it under this name."""
    return answer.action == "renamed" or answer.message.startswith(source.NEWER)


def _keys(field: source.Field, own: Schema) -> Iterator[Key]:
    """The key of a field; what Primus knows about it besides stays true."""
    known = own.keys.get(field.name)
    types, choices = source.types_of(field.annotation)
    if known is not None and known.types == types:
        yield known
        return
    first = field.help.split(". ")[0]
    yield Key(
        name=field.name,
        types=types,
        choices=choices,
        default=field.default,
        help=first,
        group=field.name.split(".")[0],
        source=field.owner,
    )

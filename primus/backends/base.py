"""The contract between Primus and a training framework. registry.py finds the implementations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from primus.errors import Problem
from primus.experiment import Experiment, Schema
from primus.job import Job, Resources

if TYPE_CHECKING:
    from primus.backends.account import Account, Arrangement, Changes
    from primus.metrics.matmul import Tally

Resume = Literal["auto", "require", "never"]
"""`auto` resumes when a checkpoint exists, `require` fails without one, `never` starts from zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What an experiment's model is, for people who choose one."""

    parameters: int
    """As model cards count: without padding of the vocabulary, and without multi-token prediction."""

    active: int
    """Those that one token uses; fewer than `parameters` with experts."""

    layers: int
    context: int
    """Longest sequence that the positions can tell apart."""


class Backend(Protocol):
    """A training framework that Primus can run. Everything here is light: no import of torch."""

    name: str
    """As in `--backend` and `framework:`."""

    packages: tuple[str, ...]
    """Top-level import names that the workers need; a missing one is reported before launch."""

    def variant(self, environ: Mapping[str, str]) -> Backend:
        """The backend as the environment wants it: itself, or one that runs a checkout of the framework."""
        ...

    def schema(self) -> Schema:
        """Every key that an experiment may set."""
        ...

    def check(self, experiment: Experiment, resources: Resources | None = None) -> list[Problem]:
        """Problems between keys, and with `resources` between keys and topology; the schema's own are not repeated."""
        ...

    def newest_checkpoint(self, experiment: Experiment) -> Path | None:
        """The checkpoint that a resume would load, or None. Reads the file system, changes nothing."""
        ...

    def plan(self, experiment: Experiment, resources: Resources, *, run_dir: Path, resume: Resume) -> Job:
        """The job for a checked experiment. Pure."""
        ...

    def facts(self, experiment: Experiment) -> ModelFacts:
        """What the model of a checked experiment is, from its values alone."""
        ...

    def memory(self, experiment: Experiment, world_size: int) -> int:
        """Bytes that a checked experiment needs on the device that holds the most, of so many: an estimate."""
        ...

    def account(self, experiment: Experiment, world_size: int) -> Account:
        """Sizes, layout and memory of a checked experiment on so many devices, from its values alone."""
        ...

    def arrange(self, experiment: Experiment, arrangement: Arrangement) -> Changes:
        """The keys that lay an experiment out so."""
        ...

    def matmuls(self, experiment: Experiment, resources: Resources) -> Tally:
        """The matrix multiplications of one training step of a checked experiment, from its values alone."""
        ...

    def short_run(self, steps: int) -> tuple[str, ...]:
        """What to set (`KEY=VALUE`) so that an experiment trains so many steps as ever, and leaves nothing behind: no
        checkpoint, no evaluation, no report to a service."""
        ...

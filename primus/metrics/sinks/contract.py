"""What a metrics service has to offer, and what it is told about the run. sinks/__init__.py drives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from primus.run import State


class SinkError(Exception):
    """A service could not be reached, or refused. The text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What services show of a run besides its metrics."""

    experiment: str
    """exp_name."""

    folder: Path
    """The experiment's folder, which all its runs share."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """The experiment's values, as nested plain data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One report."""

    step: int
    values: Mapping[str, float]
    when: float
    """Seconds since the epoch."""


class Sink(Protocol):
    """One service. Called from one thread; every method raises SinkError for what can't be helped."""

    title: str
    """As users call the service."""

    def open(self) -> None:
        """Start the run there, or find it again: this one may be its second attempt. Called again after a failure."""
        ...

    def write(self, records: Sequence[Record]) -> None:
        """Add reports, in order."""
        ...

    def close(self, state: State) -> None:
        """Say how the run has ended; nothing comes after it."""
        ...

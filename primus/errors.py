"""What can go wrong, and with which exit status. Everything in Primus raises these; cli.py prints them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from primus.suggest import nearest


class ExitStatus(IntEnum):
    """Exit status of `primus`; a training run that started passes its own status through instead."""

    DONE = 0
    FAULT = 1
    """A fault of Primus itself, printed with a traceback."""
    USAGE = 2
    """Wrong usage of the command line."""
    EXPERIMENT = 3
    """The experiment is wrong."""
    MISSING = 4
    """Something is missing here: a package, a tool, a file, a device, space, a permission."""
    SERVICE = 5
    """A service refused or is unreachable."""
    PARTIAL = 6
    """A part of it was done, and is kept: some GEMM shapes could not be tuned."""


def as_in_shell(code: int) -> int:
    """The exit status that a shell shows for what Python says of a process that has ended: 128+N for -N, signal N."""
    return code if code >= 0 else 128 - code


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The place that a value came from."""

    kind: Literal["file", "environment", "option", "default"]
    name: str
    """The file's path, the variable's name or the option as it was written (`--set lr=1`)."""

    line: int | None = None
    """Line in the file, from 1."""

    variables: tuple[str, ...] = ()
    """Environment variables that the value was made from, as in `${VAR:default}`."""

    def __str__(self) -> str:
        match self.kind:
            case "file":
                return self.name if self.line is None else f"{self.name}:{self.line}"
            case "environment":
                return f"${self.name}"
            case _:
                return self.name


Severity = Literal["error", "warning", "missing"]
"""`missing` is a path that is not on this machine: a warning, unless training is about to start on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong, or doubtful, in an experiment."""

    where: Origin | None = None
    key: str = ""
    """Dotted path as the user wrote it, for instance `modules.pre_trainer.overrides.lr`; empty for a whole file."""

    message: str
    """What is wrong, what was expected and what to do; without place and key."""

    severity: Severity = "error"

    def __str__(self) -> str:
        return ": ".join(str(part) for part in (self.where, self.key, self.message) if part)


class PrimusError(Exception):
    """An expected failure: its text is for the user and needs no traceback."""

    status = ExitStatus.FAULT


class UsageError(PrimusError):
    """The command line asks for something that does not exist or does not fit together."""

    status = ExitStatus.USAGE


class ExperimentError(PrimusError):
    """The experiment can't be used; carries every problem that was found."""

    status = ExitStatus.EXPERIMENT

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class MissingError(PrimusError):
    """Something that the command needs is not here."""

    status = ExitStatus.MISSING


class ServiceError(PrimusError):
    """A service refused, or can't be reached."""

    status = ExitStatus.SERVICE


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """` Did you mean X?` for the nearest of `choices`, or nothing when none is near."""
    near = nearest(name, choices, limit=1)
    return f" Did you mean {near[0]}?" if near else ""

"""How a piece of text in a file or an option becomes a Value: variables, then the type. All readers end here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from primus.errors import Origin, Problem
from primus.experiment.scalar import resolve
from primus.experiment.variables import expand

NAMES = ("work_group", "user_name", "exp_name", "workspace")
"""The names of an experiment; top-level keys whose value is always text: `exp_name: 0123` is not a number."""


@dataclass(slots=True)
class Source:
    """One file or option being read: its name, the environment, and the problems met so far."""

    name: str
    environ: Mapping[str, str]
    problems: list[Problem]
    kind: str = "file"
    variables: list[str] = field(default_factory=list)
    """Variables used since `used` was last called."""

    def origin(self, line: int | None) -> Origin:
        if self.kind == "option":
            return Origin(kind="option", name=self.name, variables=self.used())
        return Origin(kind="file", name=self.name, line=line, variables=self.used())

    def used(self) -> tuple[str, ...]:
        """The variables since the last call, each once."""
        names = tuple(dict.fromkeys(self.variables))
        self.variables.clear()
        return names

    def problem(self, line: int | None, message: str, key: str = "") -> None:
        where = Origin(kind="option", name=self.name) if self.kind == "option" else None
        self.problems.append(
            Problem(where=where or Origin(kind="file", name=self.name, line=line), key=key, message=message)
        )

    def text(self, text: str, line: int | None, path: str) -> str:
        """Quoted text: its variables are replaced and it stays text."""
        try:
            text, variables = expand(text, self.environ)
        except ValueError as error:
            self.problem(line, str(error), path)
            return text
        self.variables += variables
        return text

    def plain(self, text: str, line: int | None, path: str) -> Any:
        """Plain text: its variables are replaced, then the whole is read as YAML 1.2 reads it."""
        try:
            text, variables = expand(text, self.environ)
            data = resolve(text)
        except ValueError as error:
            self.problem(line, str(error), path)
            return text
        self.variables += variables
        # A variable that is set to nothing gives empty text, not null.
        return text if variables and not text else data if path not in NAMES or data is None else text

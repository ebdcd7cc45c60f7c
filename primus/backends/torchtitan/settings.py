"""The values of a torchtitan experiment with torchtitan's defaults below them. The checks and the plan read them."""

from __future__ import annotations

from typing import Any

from primus.errors import Problem, Severity
from primus.experiment import Experiment, Schema
from primus.experiment.domain import fit


class Settings:
    """What each key will be for torchtitan. A value of the wrong type counts as not set: the schema reports it."""

    def __init__(self, experiment: Experiment, schema: Schema) -> None:
        self.experiment = experiment
        self.schema = schema

    def __getitem__(self, key: str) -> Any:
        found = self.experiment.find(key)
        if found is not None:
            try:
                return fit(self.schema.keys[key], found.data, from_variables=bool(found.origin.variables))
            except ValueError:
                pass
        return self.schema.keys[key].default

    def is_set(self, key: str) -> bool:
        """Whether the experiment says anything about a key."""
        return self.experiment.find(key) is not None

    def below(self, section: str) -> dict[str, Any]:
        """The values that the experiment sets below a section, by the rest of their dotted names."""
        prefix = section + "."
        names = [key.removeprefix(prefix) for key, _ in self.experiment.leaves() if key.startswith(prefix)]
        return {name: self[prefix + name] for name in names if prefix + name in self.schema.keys}

    def problem(self, key: str, message: str, severity: Severity = "error") -> Problem:
        """A problem at the place where the value of `key` came from; without a place when nobody set it."""
        found = self.experiment.find(key)
        if found is None:
            return Problem(key=key, message=message, severity=severity)
        return Problem(where=found.origin, key=found.path, message=message, severity=severity)

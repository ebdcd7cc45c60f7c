"""What a check is: the keys it looks at, when they contradict each other, and what to say. The tables of rules are in
the other modules of this package; check() in __init__.py runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from primus.errors import Origin, Problem
from primus.experiment import Experiment, Schema, Value
from primus.experiment.paths import shown
from primus.job import Resources


class Facts(Mapping[str, Any]):
    """The value of every key, as an attribute or by name: the experiment's, or Megatron's default."""

    def __init__(self, experiment: Experiment, schema: Schema, resources: Resources | None = None) -> None:
        self._experiment = experiment
        self._schema = schema
        self._resources = resources

    def __getattr__(self, key: str) -> Any:
        value = self.value(key)
        return self._schema.keys[key].default if value is None else value.data

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._schema.keys)

    def __len__(self) -> int:
        return len(self._schema.keys)

    def value(self, key: str) -> Value | None:
        """What the experiment says about a key; null says nothing."""
        value = self._experiment.find(key)
        return None if value is None or value.data is None else value

    def given(self, key: str) -> bool:
        """Whether the experiment (or a preset) sets the key at all."""
        return self.value(key) is not None

    def changed(self, key: str) -> bool:
        """Whether the experiment (or a preset) sets the key to something else than the default."""
        return self.given(key) and self[key] != self._schema.keys[key].default

    @property
    def processes(self) -> int:
        """Of the whole launch; only rules that ask for resources may use it."""
        assert self._resources is not None
        return self._resources.world_size

    def place(self, key: str) -> Origin:
        """Where the key was set, or the experiment file when nobody did."""
        value = self.value(key)
        return value.origin if value else Origin(kind="file", name=shown(self._experiment.path))

    def blame(self, keys: Iterable[str]) -> str:
        """The key that its author most likely wants to change: the one nearest to the command line."""
        return min(keys, key=self._distance)

    def is_own(self, key: str) -> bool:
        """Whether the experiment itself sets the key, or an option or a variable; not a preset, not the default."""
        return self._distance(key) <= 1

    def _distance(self, key: str) -> int:
        if not self.given(key):
            return 3
        origin = self.place(key)
        if origin.kind != "file":
            return 0
        return 1 if origin.name == shown(self._experiment.path) else 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Keys that must not be as `when` says."""

    keys: tuple[str, ...]
    """Every key that `when` reads. A rule is skipped when one of them has a value that its own type forbids."""

    when: Callable[[Facts], bool]
    """True is a problem."""

    say: str | Callable[[Facts], str]
    """What is wrong and what to do; in a text `{key}` stands for the value of a key."""

    severity: Literal["error", "warning"] = "error"

    def problem(self, facts: Facts) -> Problem:
        """The problem at the key that is most likely meant, with the places of the others."""
        blamed = facts.blame(self.keys)
        value = facts.value(blamed)
        others = [f"{key} at {facts.place(key)}" for key in self.keys if key != blamed and facts.given(key)]
        seen = f" See {', '.join(others)}." if others else ""
        return Problem(
            where=facts.place(blamed),
            key=value.path if value else blamed,
            message=(self.say.format_map(facts) if isinstance(self.say, str) else self.say(facts)) + seen,
            severity=self.severity,
        )


def run(rules: Iterable[Rule], facts: Facts, unusable: frozenset[str]) -> Iterator[Problem]:
    """The problems of the rules whose keys all have usable values."""
    for rule in rules:
        if unusable.isdisjoint(rule.keys) and rule.when(facts):
            yield rule.problem(facts)

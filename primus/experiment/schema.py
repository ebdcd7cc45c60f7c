"""What a backend accepts: its keys with type, domain, default and help. Read from JSON, without the backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key that an experiment may set."""

    name: str
    """Dotted name, for instance `lr` or `training.steps`."""

    types: tuple[str, ...]
    """Alternatives out of `bool`, `int`, `float`, `str`, `list[int]`, `list[float]`, `list[str]`, `list`, `table`
    and `none`. An int is accepted where a float is expected, never the reverse."""

    default: Any = None
    """The backend's own default, as plain data."""

    help: str = ""
    """One line."""

    group: str = ""
    """What it belongs to, for display: `model`, `parallel`, `data`, `optimizer` …"""

    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    """Inclusive bounds of a number (of each element of a list)."""

    exclusive_minimum: bool = False
    source: str = ""
    """Where the key ends up, for instance `TransformerConfig.num_layers`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What Primus says to a key that is known elsewhere but is not one of the backend's own."""

    action: Literal["renamed", "warn", "refuse"]
    """`renamed` applies it under its new name; `warn` goes on without it; `refuse` is an error, since training would
    differ."""

    message: str
    """The reason, and what to use instead."""

    to: str = ""
    """New dotted name, for `renamed`."""

    values: tuple[tuple[Any, Any], ...] = ()
    """Old value and new value, for `renamed`, where the meaning changed too (`((True, False), (False, True))` for a
    switch that was inverted). A value that is not listed is kept."""

    harmless: tuple[Any, ...] = ()
    """Values that change nothing and need no answer (for instance False for a switch that is off); for `refuse` and
    `warn`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """All keys of one backend at one version."""

    backend: str
    version: str
    """Of the package that the keys were read from, for instance `megatron-core 0.16.1`."""

    keys: Mapping[str, Key]
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """By dotted name, or by a section's name for everything below it."""

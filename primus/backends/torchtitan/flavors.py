"""torchtitan's models and their sizes, read from flavors.json without torchtitan. The checks use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from primus.backends.torchtitan.settings import Settings

CUSTOM = "custom"
"""The flavor whose sizes stand in the experiment, below [model.custom]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One kind of model."""

    name: str
    flavors: Mapping[str, Mapping[str, Any]]
    """All arguments of each flavor, by dotted name."""

    defaults: Mapping[str, Any]
    """The arguments of a flavor that sets none."""

    sizes: tuple[str, ...]
    """The arguments that [model.custom] may set."""

    pipelining: bool
    validation: bool
    """Whether torchtitan can split it into pipeline stages, and measure its loss on held-out data."""


@cache
def families() -> Mapping[str, Family]:
    """Every kind of model that torchtitan's stock Trainer can train."""
    table = json.loads(Path(__file__).with_name("flavors.json").read_bytes())
    return {name: Family(name=name, **{**row, "sizes": tuple(row["sizes"])}) for name, row in table.items()}


def family_of(settings: Settings) -> Family | None:
    """The experiment's kind of model; None when torchtitan has none of that name."""
    return families().get(settings["model.name"])


def sizes_of(settings: Settings) -> Mapping[str, Any] | None:
    """All arguments of the experiment's model, by dotted name; None when torchtitan has no such model."""
    family = family_of(settings)
    if family is None:
        return None
    if settings["model.flavor"] == CUSTOM:
        return {**family.defaults, **settings.below("model.custom")}
    return family.flavors.get(settings["model.flavor"])


def has_experts(sizes: Mapping[str, Any]) -> bool:
    """Whether a model is a mixture of experts: all with `moe_args`, except where `moe_enabled` says no."""
    return "moe_args.num_experts" in sizes and bool(sizes.get("moe_enabled", True))

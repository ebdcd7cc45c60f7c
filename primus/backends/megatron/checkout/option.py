"""A command-line option of a Megatron-LM checkout, as its parser would know it. options.py, fields.py make them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from primus.backends.megatron.checkout.sources import Module

UNKNOWN: Any = object()
"""A default that only running the code could tell."""

Kind = Literal["store", "true", "false", "boolean", "constant", "append", "other"]

_KINDS: Mapping[str, Kind] = {
    "store": "store",
    "store_true": "true",
    "store_false": "false",
    "store_const": "constant",
    "append": "append",
    "extend": "append",
    "BooleanOptionalAction": "boolean",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option, as argparse would know it."""

    dest: str
    names: tuple[str, ...]
    kind: Kind = "store"
    type: str = "str"
    """Name of the function that reads the text: `int`, `float`, `str`, `bool` or one of the checkout's."""

    choices: tuple[Any, ...] | None = None
    nargs: str | int | None = None
    default: Any = UNKNOWN
    constant: Any = None
    help: str = ""
    where: str = ""
    """File and line in the checkout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What was found, and what was not."""

    found: tuple[Option, ...]
    conditional: Mapping[str, str] = field(default_factory=dict)
    """What options that are not always there depend on, with the place, by the name of their value."""

    unread: tuple[str, ...] = ()
    """Places, with the reason, where options are added in a way that reading alone can't tell."""

    def of(self, dest: str) -> list[Option]:
        """The options that set one value: a switch may have one for on and one for off."""
        return [option for option in self.found if option.dest == dest]


def make_option(names: list[str], facts: Mapping[str, Any], where: str) -> Option:
    """An option from what add_argument() gets: plain data, with `type` and `action` as names."""
    longest = next((name for name in names if name.startswith("--")), names[0])
    kind = _KINDS.get(str(facts.get("action") or "store"), "other")
    default = {"true": False, "false": True, "constant": None}.get(kind)
    return Option(
        dest=facts.get("dest") or longest.lstrip("-").replace("-", "_"),
        names=tuple(names),
        kind=kind,
        type=str(facts.get("type") or "str"),
        choices=None if facts.get("choices") is None else tuple(facts["choices"]),
        nargs=facts.get("nargs"),
        default=facts.get("default", default),
        constant=facts.get("const"),
        help=" ".join(str(facts.get("help") or "").replace("%%", "%").split()),
        where=where,
    )


def place_of(module: Module, node: ast.AST) -> str:
    """File and line, below the folder that holds the package."""
    parts = module.name.split(".")
    above = module.path.parents[len(parts) - (not module.is_package)]
    return f"{module.path.relative_to(above)}:{getattr(node, 'lineno', 0)}"

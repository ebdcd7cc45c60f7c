"""The command-line options of a Megatron-LM checkout, from the source of its parser: names, kinds, choices, places.

The backend reads them before a launch; nothing is imported. Options stand in add_argument() calls, or are made from the
fields of dataclasses: fields.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from primus.backends.megatron.checkout.fields import read_fields
from primus.backends.megatron.checkout.option import UNKNOWN, Option, Options, make_option, place_of
from primus.backends.megatron.checkout.sources import Module, Sources, Unreadable
from primus.errors import MissingError

MODULE = "megatron.training.arguments"
ENTRY = "parse_args"


def read_options(sources: Sources) -> Options:
    """Every option of the parser; MissingError when there is no Megatron-LM."""
    module = sources.module(MODULE)
    entry = module.own(ENTRY) if module else None
    if module is None or entry is None:
        raise MissingError(f"no {MODULE.replace('.', '/')}.py with a function {ENTRY}()")
    reader = _Reader(sources)
    reader.function(module, entry.node)
    return Options(found=tuple(reader.found), conditional=reader.conditional, unread=tuple(reader.unread))


class _Reader:
    """Follows the parser through the functions that it is handed to."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._seen: set[tuple[str, int]] = set()
        self.found: list[Option] = []
        self.conditional: dict[str, str] = {}
        self.unread: list[str] = []

    def function(self, module: Module, node: ast.AST) -> None:
        """All options that a function and those that it calls add."""
        place = (module.name, getattr(node, "lineno", 0))
        if place in self._seen:
            return
        self._seen.add(place)
        conditions = _conditions(node)
        for call in _calls(node):
            match call.func:
                case ast.Attribute(attr="add_argument"):
                    option = self._argument(module, call, node)
                    if option is not None and id(call) in conditions:
                        self.conditional[option.dest] = f"{option.where}: there only if {conditions[id(call)]}"
                    elif option is not None:
                        self.found.append(option)
                case ast.Attribute(attr="build_group", value=factory):
                    self._group(module, call, factory, node)
                case ast.Name(id=name) if _hands_over_parser(call):
                    self._follow(module, name, call, node)

    def _argument(self, module: Module, call: ast.Call, function: ast.AST) -> Option | None:
        where = place_of(module, call)
        try:
            names = [self._sources.value(module, name, function) for name in call.args]
            if any(keyword.arg is None for keyword in call.keywords):
                raise Unreadable("keywords that are unpacked")
        except Unreadable as error:
            self.unread.append(f"{where}: {error}")
            return None
        if not names or not all(isinstance(name, str) and name.startswith("-") for name in names):
            return None
        facts = {str(keyword.arg): self._fact(module, keyword, function) for keyword in call.keywords}
        return make_option(names, facts, where)

    def _fact(self, module: Module, keyword: ast.keyword, function: ast.AST) -> Any:
        """One keyword of add_argument(): a name for `type` and `action`, else plain data or nothing that we know."""
        if keyword.arg in ("type", "action") and isinstance(keyword.value, ast.Name | ast.Attribute | ast.Lambda):
            return ast.unparse(keyword.value).rpartition(".")[2]
        try:
            return self._sources.value(module, keyword.value, function)
        except Unreadable:
            if keyword.arg == "choices":
                return self._enum_choices(module, keyword.value, function)
            return UNKNOWN if keyword.arg == "default" else None

    def _enum_choices(self, module: Module, node: ast.AST, function: ast.AST) -> tuple[str, ...] | None:
        """Names of an Enum, as in `choices=list(X)` or `[each.name for each in X]`; None says nothing is known."""
        for name in (each.id for each in ast.walk(node) if isinstance(each, ast.Name)):
            definition = self._sources.find(module, name, function)
            members = definition and self._sources.members(definition)
            if members:
                return members
        return None

    def _group(self, module: Module, call: ast.Call, factory: ast.AST, function: ast.AST) -> None:
        """`Factory(SomeDataclass, exclude=[...]).build_group(parser)`, perhaps through a variable."""
        made = _assigned(factory.id, function) if isinstance(factory, ast.Name) else factory
        try:
            if not isinstance(made, ast.Call) or not made.args or not isinstance(made.args[0], ast.Name):
                raise Unreadable(f"{ast.unparse(factory)} is made in another way than from a class")
            exclude = [keyword.value for keyword in made.keywords if keyword.arg == "exclude"]
            excluded = frozenset(self._sources.value(module, exclude[0], function) if exclude else ())
            definition = self._sources.find(module, made.args[0].id, function)
            if definition is None or not isinstance(definition.node, ast.ClassDef):
                raise Unreadable(f"no class {made.args[0].id} found")
        except Unreadable as error:
            self.unread.append(f"{place_of(module, call)}: {error}")
            return
        found, unread = read_fields(self._sources, definition, excluded)
        self.found += found
        self.unread += unread

    def _follow(self, module: Module, name: str, call: ast.Call, function: ast.AST) -> None:
        if name in _parameters(function):  # handed in by pretrain_gpt.py, for optional packages
            return
        definition = self._sources.find(module, name, function)
        if definition is None or not isinstance(definition.node, ast.FunctionDef):
            self.unread.append(f"{place_of(module, call)}: no function {name} found")
            return
        self.function(definition.module, definition.node)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call in a function, in the order of the source."""
    found = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return iter(sorted(found, key=lambda call: (call.lineno, call.col_offset)))


def _conditions(function: ast.AST) -> dict[int, str]:
    """The condition of each call that stands under an `if`, for instance on a package that is installed."""
    branches = [node for node in ast.walk(function) if isinstance(node, ast.If)]
    return {id(call): ast.unparse(branch.test) for branch in branches for call in ast.walk(branch)}


def _hands_over_parser(call: ast.Call) -> bool:
    return any(isinstance(argument, ast.Name) and argument.id == "parser" for argument in call.args)


def _parameters(function: ast.AST) -> set[str]:
    return {each.arg for each in function.args.args} if isinstance(function, ast.FunctionDef) else set()


def _assigned(name: str, function: ast.AST) -> ast.AST | None:
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return value
    return None

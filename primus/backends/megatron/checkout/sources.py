"""Python modules of a Megatron-LM checkout as syntax trees: read, never imported. options.py and fields.py find in them
where a name is defined, through imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORE = "megatron.core"


class Unreadable(Exception):
    """An expression whose value only running the code could tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """Where a name gets its meaning."""

    module: Module
    node: ast.AST
    """A function, a class, or the expression that was assigned."""


@dataclass(kw_only=True, slots=True)
class Module:
    """One file."""

    name: str
    """Dotted."""

    path: Path
    tree: ast.Module
    is_package: bool
    _values: dict[str, ast.AST] = field(default_factory=dict)
    _imports: list[ast.ImportFrom] = field(default_factory=list)

    def __post_init__(self) -> None:
        for node in _statements(self.tree.body):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    self._values[name] = node
                case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=None)):
                    pass  # what a name is where an import failed
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._values[name] = value
                case ast.ImportFrom():
                    self._imports.append(node)

    def own(self, name: str) -> Definition | None:
        node = self._values.get(name)
        return None if node is None else Definition(module=self, node=node)

    def imported(self, name: str, function: ast.AST | None = None) -> Iterator[tuple[str, str]]:
        """Modules that `name` may come from, with its name there; imports inside `function` first."""
        inner = [] if function is None else [node for node in ast.walk(function) if isinstance(node, ast.ImportFrom)]
        for node in (*inner, *self._imports):
            for alias in node.names:
                if alias.name == "*" or name == (alias.asname or alias.name):
                    yield self._absolute(node), name if alias.name == "*" else alias.name

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        kept = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*kept, node.module] if node.module else kept)


class Sources:
    """The modules of a checkout. Those of megatron.core are the installed ones where there are any, as in the workers:
    a checkout's helpers are not compiled."""

    def __init__(self, checkout: Path, installed: Sequence[Path] = ()) -> None:
        self._checkout, self._installed = checkout, tuple(installed)
        self._modules: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """The module of this dotted name, or None when there is none."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def find(self, module: Module, name: str, function: ast.AST | None = None) -> Definition | None:
        """What a name in a module (in a function of it) means; None for what is in none of these files."""
        return self._find(module, name, function, frozenset())

    def _find(
        self, module: Module, name: str, function: ast.AST | None, seen: frozenset[tuple[str, str]]
    ) -> Definition | None:
        if (module.name, name) in seen:
            return None
        own = module.own(name)
        if own is not None:
            return own
        for source, original in module.imported(name, function):
            target = self.module(source) if source.startswith("megatron") else None
            found = target and self._find(target, original, None, seen | {(module.name, name)})
            if found:
                return found
        return None

    def value(self, module: Module, node: ast.AST, function: ast.AST | None = None) -> Any:
        """The plain data of an expression, with names of constants followed; Unreadable for others."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return [self.value(module, item, function) for item in items]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.value(module, operand, function)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.value(module, left, function) + self.value(module, right, function)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.value(module, left, function) * self.value(module, right, function)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self.value(module, left, function) ** self.value(module, right, function)
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return {self.value(module, k or v, function): self.value(module, v, function) for k, v in pairs}
            case ast.Name(id=name):
                return self._named(module, name, function)
        raise Unreadable(ast.unparse(node))

    def _named(self, module: Module, name: str, function: ast.AST | None) -> Any:
        for node in ast.walk(function) if function is not None else ():
            match node:
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    return self.value(module, value, function)
        found = self.find(module, name, function)
        if found is None or isinstance(found.node, ast.FunctionDef | ast.ClassDef):
            raise Unreadable(name)
        return self.value(found.module, found.node)

    def members(self, definition: Definition) -> tuple[str, ...] | None:
        """The names in an Enum class; None for another class."""
        if not isinstance(definition.node, ast.ClassDef):
            return None
        if not any(ast.unparse(base).rpartition(".")[2].endswith("Enum") for base in definition.node.bases):
            return None
        body = [node for node in definition.node.body if isinstance(node, ast.Assign)]
        return tuple(target.id for node in body for target in node.targets if isinstance(target, ast.Name))

    def _read(self, name: str) -> Module | None:
        folders = (*self._installed, self._checkout) if _is_core(name) else (self._checkout, *self._installed)
        for folder in folders:
            base = folder.joinpath(*name.split("."))
            for path, is_package in ((base / "__init__.py", True), (base.with_suffix(".py"), False)):
                if path.is_file():
                    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
                    return Module(name=name, path=path, tree=tree, is_package=is_package)
        return None


def _is_core(name: str) -> bool:
    return name == CORE or name.startswith(f"{CORE}.")


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those under `try` and `if` included."""
    for node in body:
        yield node
        for block in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.Try | ast.If):
                yield from _statements(getattr(node, block, []))
        if isinstance(node, ast.Try):
            for handler in node.handlers:
                yield from _statements(handler.body)

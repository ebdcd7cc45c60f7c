"""Options that newer versions of Megatron-LM make from the fields of dataclasses, by the rules of its
ArgumentGroupFactory. options.py calls it."""

from __future__ import annotations

import ast
import signal
from collections.abc import Iterator
from typing import Any

from primus.backends.megatron.checkout.option import UNKNOWN, Option, make_option, place_of
from primus.backends.megatron.checkout.sources import Definition, Sources, Unreadable

META = "argparse_meta"
"""What a field says about its own option, in its metadata."""

_SCALARS = ("int", "float", "str", "bool")


def read_fields(
    sources: Sources, definition: Definition, excluded: frozenset[str] = frozenset()
) -> tuple[list[Option], list[str]]:
    """The options of a dataclass and of its bases, and the places of fields that can't be read."""
    found: dict[str, Option] = {}
    unread: list[str] = []
    for owner in _bases(sources, definition):
        for node, doc in _annotated(owner.node):
            name = node.target.id if isinstance(node.target, ast.Name) else ""
            if not name or name in excluded:
                continue
            try:
                option = _option(sources, owner, name, node, doc)
            except Unreadable as error:
                unread.append(f"{place_of(owner.module, node)}: {name}: {error}")
                continue
            if option is not None:
                found[name] = option
    return list(found.values()), unread


def _bases(sources: Sources, definition: Definition) -> Iterator[Definition]:
    """The class and its base classes, the furthest first."""
    assert isinstance(definition.node, ast.ClassDef)
    for base in definition.node.bases:
        above = sources.find(definition.module, base.id) if isinstance(base, ast.Name) else None
        if above is not None and isinstance(above.node, ast.ClassDef):
            yield from _bases(sources, above)
    yield definition


def _annotated(node: ast.AST) -> Iterator[tuple[ast.AnnAssign, str]]:
    """Every field with the text below it."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign):
            match following:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement, text
                case _:
                    yield statement, ""


def _option(sources: Sources, owner: Definition, name: str, node: ast.AnnAssign, doc: str) -> Option | None:
    keywords = _field_keywords(node.value)
    if _is_constant(keywords.get("init"), False) or ast.unparse(node.annotation).startswith(("ClassVar", "InitVar")):
        return None
    default = _default(sources, owner, node.value, keywords)
    meta = _meta(sources, owner, keywords.get("metadata"))
    facts: dict[str, Any] = {"dest": name, "default": default, "help": doc}
    names = [_spelled(name)]
    try:
        facts |= _type(sources, owner, node.annotation)
    except Unreadable:
        if not meta:
            raise
    if facts.get("type") == "bool" and not facts.get("nargs"):
        if default is UNKNOWN:
            raise Unreadable("the default of a switch")
        facts["action"] = "store_true" if default is False else "store_false"
        if default is not False:
            names = [_spelled(f"no_{name}"), _spelled(f"disable_{name}")]
        del facts["type"]
    names = meta.pop("arg_names", names)
    return make_option(names, facts | meta, place_of(owner.module, node))


def _field_keywords(value: ast.expr | None) -> dict[str, ast.expr]:
    match value:
        case ast.Call(func=ast.Name(id="field") | ast.Attribute(attr="field"), keywords=keywords):
            return {keyword.arg: keyword.value for keyword in keywords if keyword.arg}
    return {}


def _default(sources: Sources, owner: Definition, value: ast.expr | None, keywords: dict[str, ast.expr]) -> Any:
    if keywords:
        value = keywords.get("default")
    if value is None:
        return UNKNOWN
    try:
        return sources.value(owner.module, value)
    except Unreadable:
        return UNKNOWN


def _meta(sources: Sources, owner: Definition, metadata: ast.expr | None) -> dict[str, Any]:
    """What argparse_meta says, with `type` as a name."""
    if not isinstance(metadata, ast.Dict):
        return {}
    for key, value in zip(metadata.keys, metadata.values, strict=True):
        if _is_constant(key, META) and isinstance(value, ast.Dict):
            pairs = [(_text(name), data) for name, data in zip(value.keys, value.values, strict=True)]
            return {name: _meta_value(sources, owner, name, data) for name, data in pairs}
    return {}


def _meta_value(sources: Sources, owner: Definition, name: str, node: ast.expr) -> Any:
    if name in ("type", "action") and isinstance(node, ast.Name | ast.Attribute | ast.Lambda):
        return ast.unparse(node).rpartition(".")[2]
    try:
        return sources.value(owner.module, node)
    except Unreadable:
        if name in ("arg_names", "dest"):
            raise
        return UNKNOWN if name == "default" else None


def _type(sources: Sources, owner: Definition, annotation: ast.expr) -> dict[str, Any]:
    """What argparse gets for an annotation: type, choices, nargs."""
    match annotation:
        case ast.Constant(value=str(text)):
            return _type(sources, owner, ast.parse(text, mode="eval").body)
        case ast.Name(id=name) if name in _SCALARS:
            return {"type": name}
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            return _type(sources, owner, left)
        case ast.Subscript(value=value, slice=inner):
            return _subscript(sources, owner, ast.unparse(value).rpartition(".")[2], inner)
        case ast.Attribute(value=ast.Name(id="signal"), attr="Signals"):
            return {"type": "Signals", "choices": tuple(signal.Signals.__members__)}
        case ast.Name(id=name):
            definition = sources.find(owner.module, name)
            if definition is not None and (members := sources.members(definition)):
                return {"type": name, "choices": members}
            if definition is not None and isinstance(definition.node, ast.expr):  # an alias of a type
                return _type(sources, definition, definition.node)
    raise Unreadable(f"an option of type {ast.unparse(annotation)}")


def _subscript(sources: Sources, owner: Definition, name: str, inner: ast.expr) -> dict[str, Any]:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Optional":
        return _type(sources, owner, inner)
    if name == "Union" and len(parts) == 2 and _is_constant(parts[1], None):
        return _type(sources, owner, parts[0])
    if name == "Literal":
        choices = tuple(sources.value(owner.module, part) for part in parts)
        return {"type": type(choices[0]).__name__, "choices": choices}
    if name.lower() == "list" and len(parts) == 1:
        return {**_type(sources, owner, parts[0]), "nargs": "+"}
    raise Unreadable(f"an option of type {name}[{ast.unparse(inner)}]")


def _spelled(name: str) -> str:
    return "--" + name.replace("_", "-")


def _is_constant(node: ast.expr | None, value: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value == value and type(node.value) is type(value)


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""

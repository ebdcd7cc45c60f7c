"""Read the fields of megatron.core's configuration dataclasses from their source, without importing torch.

Called by generate_megatron_schema.py; also reads the docstrings of primus' own settings.py.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

FILES = {
    "ModelParallelConfig": "model_parallel_config.py",
    "TransformerConfig": "transformer/transformer_config.py",
    "MLATransformerConfig": "transformer/transformer_config.py",
    "OptimizerConfig": "optimizer/optimizer_config.py",
    "DistributedDataParallelConfig": "distributed/distributed_data_parallel_config.py",
    "BlendedMegatronDatasetConfig": "datasets/blended_megatron_dataset_config.py",
    "GPTDatasetConfig": "datasets/gpt_dataset.py",
}
"""Where each dataclass stands below megatron/core."""

ENUMS = {"AttnBackend": "transformer/enums.py", "CudaGraphScope": "transformer/enums.py"}

SCALARS = {"int": "int", "float": "float", "bool": "bool", "str": "str", "None": "none"}
LISTS = {"int": "list[int]", "float": "list[float]", "str": "list[str]"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a dataclass."""

    types: tuple[str, ...]
    """In the schema's words; empty for what a file can't say (callables, dtypes, objects)."""

    choices: tuple[str, ...] | None
    default: Any
    """Plain data; None also for a default that is no plain data."""

    doc: str
    """The docstring under the field, on one line."""


@cache
def read_fields(name: str, path: Path | None = None) -> dict[str, Field]:
    """The init fields of a dataclass by name, those of its bases in `FILES` first. `path`: another source file."""
    body = _class(path or _core() / FILES[name], name)
    found: dict[str, Field] = {}
    for base in body.bases:
        if isinstance(base, ast.Name) and base.id in FILES and path is None:
            found |= read_fields(base.id)
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            types, choices = _types(statement.annotation)
            doc = _text(following)
            found[statement.target.id] = Field(
                types=tuple(dict.fromkeys(types)), choices=choices, default=_plain(statement.value), doc=doc
            )
    return found


def _core() -> Path:
    return Path(str(metadata.distribution("megatron-core").locate_file("megatron/core")))


@cache
def _module(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _class(path: Path, name: str) -> ast.ClassDef:
    for node in _module(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise ValueError(f"{path} has no class {name}")


def _types(node: ast.expr) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Types in the schema's words and choices of an annotation; what a file can't say adds nothing."""
    match node:
        case ast.Constant(value=None):
            return ("none",), None
        case ast.Name(id=name) if name in SCALARS:
            return (SCALARS[name],), None
        case ast.Name(id="list"):
            return ("list",), None
        case ast.Name(id=name) if name in ENUMS:
            return ("str",), _members(name)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return ("str",), tuple(str(ast.literal_eval(part)) for part in _parts(inner))
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            types, choices = _types(inner)
            return (*types, "none"), choices
        case ast.Subscript(value=ast.Name(id="Union"), slice=inner):
            alternatives = [_types(part) for part in _parts(inner)]
            choices = tuple(choice for _, some in alternatives for choice in some or ())
            return tuple(name for types, _ in alternatives for name in types), choices or None
        case ast.Subscript(value=ast.Name(id="List" | "list" | "Tuple"), slice=inner):
            element = _parts(inner)[0]
            return ((LISTS[element.id],), None) if isinstance(element, ast.Name) and element.id in LISTS else ((), None)
        case _:
            return (), None


def _parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _members(name: str) -> tuple[str, ...]:
    body = _class(_core() / ENUMS[name], name).body
    return tuple(t.id for node in body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name))


def _plain(node: ast.expr | None) -> Any:
    """The value of a default expression as plain data."""
    match node:
        case ast.Call(func=ast.Name(id="field"), keywords=keywords):
            named = {keyword.arg: keyword.value for keyword in keywords}
            return [] if "default_factory" in named else _plain(named.get("default"))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _plain(left) * _plain(right)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _plain(left) ** _plain(right)
        case ast.Attribute(value=ast.Name(id=enum), attr=member) if enum in ENUMS:
            return member
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp() | ast.List() | ast.Tuple():
            return ast.literal_eval(node)
        case _:
            return None


def _text(node: ast.stmt | None) -> str:
    """The docstring under a field, without line breaks."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""

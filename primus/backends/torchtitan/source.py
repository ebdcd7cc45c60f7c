"""Reads torchtitan's configuration dataclasses and its table of models from the source text, without importing
torchtitan or torch. The script that generates the schema calls it, and checkout.py."""

from __future__ import annotations

import ast
import dataclasses
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FAMILIES = ("llama3", "llama4", "deepseek_v3", "qwen3", "gpt_oss")
"""torchtitan's language models that its stock Trainer trains."""

NEWER = "belongs to torchtitan 0.3"
"""How the answer to a key of a later release begins."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One leaf of a tree of dataclasses."""

    name: str
    """Dotted, from the root."""

    owner: str
    """`Class.field`."""

    annotation: ast.expr
    default: Any
    help: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What torchtitan says about one kind of model."""

    fields: tuple[Field, ...]
    """Of its arguments class."""

    flavors: dict[str, dict[str, Any]]
    """Every argument of every flavor, defaults included."""

    pipelining: bool
    validation: bool


def root() -> Path:
    """The folder of the installed package; finding it does not run it."""
    spec = find_spec("torchtitan")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("torchtitan is not installed in this environment")
    return Path(spec.submodule_search_locations[0])


def read_job_config(package: Path) -> tuple[Field, ...]:
    """Every leaf of JobConfig."""
    classes = _classes(package / "config/job_config.py")
    return tuple(_leaves(classes, _run(classes.values(), {}), "JobConfig", ""))


def read_family(package: Path, family: str) -> Family:
    """One model's arguments class and its flavors."""
    folder = package / "models" / family
    classes = {**_moe(package), **_classes(folder / "model/args.py")}
    space = _run(classes.values(), {"BaseModelArgs": object})
    init = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    spec = next(_keywords(node) for node in ast.walk(init) if isinstance(node, ast.Call) and _name(node) == "TrainSpec")
    table, arguments = _flavor_table(init)
    flavors = eval(compile(ast.Expression(table), family, "eval"), dict(space))
    return Family(
        fields=tuple(_leaves(classes, space, arguments, "")),
        flavors={name: dataclasses.asdict(value) for name, value in flavors.items()},
        pipelining=ast.unparse(spec["pipelining_fn"]) != "None",
        validation="build_validator_fn" in spec,
    )


_TYPES = {"int": "int", "float": "float", "bool": "bool", "str": "str", "None": "none", "list[str]": "list[str]"}


def types_of(annotation: ast.expr) -> tuple[tuple[str, ...], tuple[Any, ...] | None]:
    """Types and choices of an annotation. A float admits an int, so `float | int` is a float."""
    names: list[str] = []
    choices: list[Any] = []
    for part in _alternatives(annotation):
        text = ast.unparse(part)
        if text.startswith("Literal["):
            values = ast.literal_eval(text.removeprefix("Literal"))
            choices += values
            names.append("str")
        else:
            names.append("list" if text.startswith("list[list[") else _TYPES[text])
    if "float" in names and "int" in names:
        names.remove("int")
    return tuple(dict.fromkeys(names)), tuple(choices) or None


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    else:
        yield annotation


def _moe(package: Path) -> dict[str, ast.ClassDef]:
    return _classes(package / "models/moe/moe.py")


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    """The dataclasses of a module, by name."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = [node for node in body if isinstance(node, ast.ClassDef)]
    return {node.name: node for node in found if any("dataclass" in ast.unparse(d) for d in node.decorator_list)}


def _run(classes: Any, space: dict[str, Any]) -> dict[str, Any]:
    """Define the classes for real, with their fields and nothing else: annotations are not evaluated."""
    defined: dict[str, Any] = {**space, "__name__": __name__, "dataclass": dataclasses.dataclass}
    defined.update(field=dataclasses.field)
    for node in classes:
        bare = ast.ClassDef(node.name, node.bases, [], [n for n in node.body if isinstance(n, ast.AnnAssign)], [])
        bare.type_params = []  # type: ignore[attr-defined]  # Python 3.12
        source = f"@dataclass\n{ast.unparse(ast.fix_missing_locations(bare))}"
        exec(compile(f"from __future__ import annotations\n{source}", node.name, "exec"), defined)
    return defined


def _leaves(classes: dict[str, ast.ClassDef], space: dict[str, Any], name: str, prefix: str) -> Iterator[Field]:
    defaults = dataclasses.asdict(space[name]())
    body = classes[name].body
    for index, node in enumerate(body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        key, inner = node.target.id, _inner(node.annotation, classes)
        if inner:
            yield from _leaves(classes, space, inner, f"{prefix}{key}.")
            continue
        yield Field(
            name=prefix + key,
            owner=f"{name}.{key}",
            annotation=node.annotation,
            default=defaults[key],
            help=_docstring(body[index + 1 :]),
        )


def _inner(annotation: ast.expr, classes: dict[str, ast.ClassDef]) -> str | None:
    """The dataclass that an annotation names, `X` or `X | None`."""
    parts = [part.strip() for part in ast.unparse(annotation).split("|")]
    return next((part for part in parts if part in classes), None)


def _docstring(rest: list[ast.stmt]) -> str:
    """The first paragraph of the string below a field (fields in a row share the one below the last), on one line."""
    for node in rest:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            paragraph = textwrap.dedent(node.value.value).strip().split("\n\n")[0]
            return " ".join(paragraph.split())
        if not isinstance(node, ast.AnnAssign):
            break
    return ""


def _flavor_table(init: ast.Module) -> tuple[ast.Dict, str]:
    """The dictionary of flavors in a model's __init__.py, and the class of its values."""
    for node in init.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            calls = [value for value in node.value.values if isinstance(value, ast.Call)]
            if calls:
                return node.value, _name(calls[0])
    raise ValueError("no table of flavors found")


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func)

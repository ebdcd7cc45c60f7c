"""Imports point down the house only, and torch stays in the worker processes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import primus

PACKAGE = Path(primus.__file__).parent

FLOORS = (
    (
        "primus.errors",
        "primus.lifeline",
        "primus.suggest",
        "primus.job",
        "primus.redact",
        "primus.table",
        "primus.callable",
    ),
    ("primus.experiment",),
    ("primus.run", "primus.runs", "primus.output", "primus.revision", "primus.machine", "primus.manifest"),
    ("primus.data", "primus.metrics"),
    ("primus.backends",),
    ("primus.launch",),
    ("primus.tuning", "primus.report", "primus.doctor", "primus.bench", "primus.estimate"),
    ("primus.api",),
    ("primus.commands",),
    ("primus.cli",),
    ("primus.__main__",),
)
"""The house from the ground up: a module imports from its own floor and from those below."""

HEAVY = frozenset({"torch", "numpy", "megatron", "torchtitan", "transformers", "tokenizers", "datasets", "triton"})

WORKER_SIDE = (
    "primus.backends.megatron",
    "primus.backends.torchtitan",
    "primus.data",
    "primus.metrics",
    "primus.launch.store",
    "primus.doctor.worker",
    "primus.doctor.measure",
)
"""Where a function or a module of the workers may import what is heavy."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def floor(name: str) -> int | None:
    return next((level for level, parts in enumerate(FLOORS) if any(is_below(name, part) for part in parts)), None)


def test_every_module_stands_on_a_floor():
    assert not [name for name, _ in modules() if floor(name) is None and name != "primus"]


def test_imports_point_down():
    upward = {
        name: found
        for name, path in modules()
        if name != "primus"  # the front door names what is on every floor, and imports it when it is asked for
        if (found := {each for each in imports(path) if (floor(each) or 0) > (floor(name) or 0)})
    }
    assert not upward


def test_a_backend_knows_no_other_backend():
    for name, path in modules():
        for own, other in (("megatron", "torchtitan"), ("torchtitan", "megatron")):
            if is_below(name, f"primus.backends.{own}"):
                assert not [each for each in imports(path) if is_below(each, f"primus.backends.{other}")], name


def test_nothing_but_its_entrance_imports_the_command_line():
    for name, path in modules():
        if name != "primus.__main__":
            assert not [each for each in imports(path) if is_below(each, "primus.cli")], name


def test_a_command_does_not_use_another_command():
    for name, path in modules():
        if name.startswith("primus.commands."):
            group = ".".join(name.split(".")[:3])
            others = {each for each in imports(path) if is_below(each, "primus.commands") and not is_below(each, group)}
            shared = ("primus.commands.completion", "primus.commands.options")
            others.discard("primus.commands")
            assert all(any(is_below(each, one) for one in shared) for each in others), name


def test_what_is_heavy_is_imported_on_the_workers_side_only():
    for name, path in modules():
        if not any(is_below(name, side) for side in WORKER_SIDE):
            assert not {each.partition(".")[0] for each in imports(path)} & HEAVY, name


def test_modules_are_short():
    too_long = {name: count for name, path in modules() if (count := len(path.read_text().splitlines())) > 400}
    assert not too_long


def test_every_module_says_what_lives_there():
    texts = {name: path.read_text() for name, path in modules()}
    assert not [name for name, text in texts.items() if text and ast.get_docstring(ast.parse(text)) is None]

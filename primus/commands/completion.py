"""What the shell completes: names of experiments, keys, and values after `KEY=`. train and config use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from primus.errors import PrimusError

Completions = list[tuple[str, str]]
"""What may be written, with a line of help."""


def complete_experiment(incomplete: str) -> Completions:
    """Shipped experiments whose name begins like this; files are completed by the shell."""
    from primus.experiment.paths import frameworks, shipped

    found = [(name, framework) for framework in frameworks("experiments") for name in shipped("experiments", framework)]
    names = [name for name, _ in found]
    # A name that several frameworks have is completed with the framework before it.
    full = [(name if names.count(name) == 1 else f"{framework}/{name}", framework) for name, framework in found]
    return [(name, f"for {framework}") for name, framework in full if name.startswith(incomplete)]


def complete_key(incomplete: str) -> Completions:
    """Keys of all backends."""
    return [(name, text) for name, text in _keys(None) if name.startswith(incomplete)]


def complete_set(ctx: Any, incomplete: str) -> Completions:
    """`KEY=` for the keys of the experiment's backend, and after the equals sign the values that it may have."""
    framework = _framework(ctx)
    name, equals, value = incomplete.partition("=")
    if not equals:
        return [(f"{key}=", text) for key, text in _keys(framework) if key.startswith(incomplete)]
    return [(f"{name}={choice}", "") for choice in _values(name, framework) if choice.startswith(value)]


def _framework(ctx: Any) -> str | None:
    """The backend of the experiment on the command line, when it can be told."""
    from primus.experiment import load

    exp: str | None = ctx.params.get("exp") or ctx.params.get("one")
    backend: str | None = ctx.params.get("backend")
    try:
        return load(exp, framework=backend).framework if exp else backend
    except PrimusError:  # an experiment that is still wrong must not make completion fail
        return backend


def _schemas(framework: str | None) -> Iterator[Any]:
    from primus.backends import registry

    for name in registry.names():
        if framework in (None, name):
            yield registry.get(name).schema()


def _keys(framework: str | None) -> Completions:
    return [(key.name, key.help) for schema in _schemas(framework) for key in schema.keys.values()]


def _values(name: str, framework: str | None) -> list[str]:
    from primus.experiment.dump import format_data

    found: dict[str, None] = {}
    for schema in _schemas(framework):
        key = schema.keys.get(name)
        if key is not None:
            found |= dict.fromkeys(format_data(choice) for choice in key.choices or ())
            found |= dict.fromkeys(["true", "false"] if "bool" in key.types else [])
            found |= dict.fromkeys(["null"] if "none" in key.types else [])
    return list(found)

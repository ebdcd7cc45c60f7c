"""Keeps secrets out of the effective experiment: a value that holds one becomes a reference to an environment variable,
which the workers resolve. `primus train` calls it before anything of the experiment is written or shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from primus.experiment.model import Experiment, Reference, Tree, Value
from primus.experiment.variables import escape
from primus.redact import is_secret_name, redact_text

PREFIX = "PRIMUS_SECRET_"
"""Of the variable that carries a secret which was written out in a file or an option."""


def withhold(experiment: Experiment, environ: Mapping[str, str]) -> Experiment:
    """The experiment with references instead of secrets; its `secrets` are the variables that those name."""
    secrets: dict[str, str] = {}
    values = _tree(experiment.values, "", environ, secrets)
    return replace(experiment, values=values, secrets=secrets) if secrets else experiment


def _tree(tree: Tree, prefix: str, environ: Mapping[str, str], secrets: dict[str, str]) -> Tree:
    return {
        name: _value(node, prefix + name, environ, secrets)
        if isinstance(node, Value)
        else _tree(node, f"{prefix}{name}.", environ, secrets)
        for name, node in tree.items()
    }


def _value(value: Value, key: str, environ: Mapping[str, str], secrets: dict[str, str]) -> Value:
    used = {name: found for name in value.origin.variables if (found := environ.get(name)) and _is_secret(name, found)}
    data = _data(value.data, key, used, secrets)
    return value if data is value.data else replace(value, data=data)


def _data(data: Any, key: str, used: Mapping[str, str], secrets: dict[str, str]) -> Any:
    if isinstance(data, list):
        items = [_data(item, f"{key}_{place}", used, secrets) for place, item in enumerate(data)]
        return data if all(new is old for new, old in zip(items, data, strict=True)) else items
    if not isinstance(data, str) or not data:
        return data
    marked = data
    for name, secret in used.items():
        marked = marked.replace(secret, f"\0{name}\0")
    rest = re.sub(r"\0.*?\0", "", marked)
    if not _is_secret(key.rpartition(".")[2], rest):
        secrets.update((name, secret) for name, secret in used.items() if f"\0{name}\0" in marked)
        return data if marked == data else Reference(re.sub(r"\0(.*?)\0", r"${\1}", escape(marked)))
    name = PREFIX + re.sub(r"[^A-Za-z0-9]+", "_", key).upper()
    secrets[name] = data
    return Reference(f"${{{name}}}")


def _is_secret(name: str, text: str) -> bool:
    return bool(text) and (is_secret_name(name) or redact_text(text) != text)

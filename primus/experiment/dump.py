"""An Experiment back to YAML, in the dialect that load.py reads. Run directories and `primus config show` use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from primus.experiment.leaf import NAMES
from primus.experiment.model import Experiment, Reference, Tree, Value
from primus.experiment.scalar import format_float, resolve
from primus.experiment.variables import escape

_SAFE = re.compile(r"[A-Za-z0-9_./+-][A-Za-z0-9_./+@%^=() -]*", re.ASCII)
"""Text that needs no quotes, inside of lists neither, as long as it does not read as something else than text."""

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dump(experiment: Experiment) -> str:
    """The effective experiment: `load` reads it back as the same names and values.

    It stands alone: presets, environment and options are merged in, and the names of the presets are only kept.
    """
    module: dict[str, Any] = {"framework": experiment.framework}
    presets = {"config": experiment.config, "model": experiment.model}
    module |= {key: name for key, name in presets.items() if name is not None}
    module["effective"] = True
    module["overrides"] = experiment.plain()
    names = {name: getattr(experiment, name) for name in NAMES}
    return "".join(_lines({**names, "modules": {experiment.module: module}}, ""))


def format_data(data: Any) -> str:
    """Plain data on one line, as a value in a file or in `--set`."""
    if isinstance(data, Mapping):
        return "{" + ", ".join(f"{_text(name)}: {format_data(item)}" for name, item in data.items()) + "}"
    if isinstance(data, (list, tuple)):
        return "[" + ", ".join(format_data(item) for item in data) + "]"
    if data is None or isinstance(data, bool):
        return {None: "null", True: "true", False: "false"}[data]
    if isinstance(data, float):
        return format_float(data)
    if isinstance(data, int):
        return str(data)
    return _text(data) if isinstance(data, Reference) else _text(escape(str(data)))


def format_tree(tree: Tree) -> str:
    """A tree as a block of YAML."""
    return "".join(_lines(tree, ""))


def _lines(tree: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for name, node in tree.items():
        data = node.data if isinstance(node, Value) else node
        if isinstance(data, Mapping) and data:
            lines += [f"{indent}{_text(name)}:\n", *_lines(data, indent + "  ")]
        else:
            lines.append(f"{indent}{_text(name)}: {format_data(data)}\n")
    return lines


def _text(text: str) -> str:
    if _SAFE.fullmatch(text) and not text.endswith(" ") and _reads_as_itself(text):
        return text
    return '"' + "".join(_ESCAPES.get(letter) or _escaped(letter) for letter in text) + '"'


def _reads_as_itself(text: str) -> bool:
    try:
        return isinstance(resolve(text), str) and text not in ("-", "---", "...") and not text.startswith("- ")
    except ValueError:
        return False


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""`--set KEY=VALUE` to a Section in the shape of an experiment file. load.py merges it over the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primus.errors import Origin, Problem
from primus.experiment.leaf import NAMES, Source
from primus.experiment.model import Section, Value

_FLOW_STARTS = ("[", "{", '"', "'")


def parse_set(text: str, module: str, environ: Mapping[str, str], problems: list[Problem]) -> Section | None:
    """One option as a tree from the top of an experiment file; None when it can't be read.

    The key is one of the framework's own (`lr`, `training.steps`), a name (`exp_name`), or a full path that starts
    with `modules.`. The value is typed as in YAML 1.2; lists, mappings and quoted text are written in flow style.
    """
    if not _is_text(text):
        problems.append(Problem(message=f"--set {text!a}: the option is not valid UTF-8"))
        return None
    source = Source(f"--set {text}", environ, problems, kind="option")
    key, equals, written = (part.strip() for part in text.partition("="))
    parts = key.split(".")
    if not equals or not all(parts):
        source.problem(None, "expected KEY=VALUE, for instance lr=1e-4 or training.steps=10")
        return None
    if not written:
        source.problem(None, 'no value after the equals sign; write null for none, "" for empty text', key)
        return None
    above = [] if parts[0] == "modules" or key in NAMES else ["modules", module, "overrides"]
    return _nested(above, parts, _node(written, key, source), source)


def _node(written: str, key: str, source: Source) -> Section | Value:
    if written.startswith(_FLOW_STARTS):
        from primus.experiment.yaml_file import parse_flow

        node: Any = parse_flow(written, source, key)
        if isinstance(node, Section):
            return node
    else:
        node = source.plain(written, None, key)
    return Value(data=node, origin=source.origin(None), path=key)


def _nested(above: list[str], parts: list[str], node: Section | Value, source: Source) -> Section:
    """The node below its sections; each shows the part of the key that was written down to it."""
    origin = Origin(kind="option", name=source.name)
    tree = Section(origin, ".".join(parts[:-1]), {parts[-1]: node})
    for depth in range(len(parts) - 2, -1, -1):
        tree = Section(origin, ".".join(parts[:depth]), {parts[depth]: tree})
    for name in reversed(above):
        tree = Section(origin, "", {name: tree})
    return tree


def _is_text(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)

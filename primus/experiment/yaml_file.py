"""YAML text to Sections and Values with their lines, read by the rules of YAML 1.2. files.py and options.py call it.

libyaml does the parsing; what its events mean is decided here, because PyYAML itself reads YAML 1.1 (`1e-5` is text,
`4:00:00` a number, `no` false) and lets a second key silently replace the first.
"""

from __future__ import annotations

from typing import Any

import yaml

from primus.experiment.leaf import Source
from primus.experiment.model import Section, Value
from primus.experiment.scalar import resolve
from primus.experiment.yaml_nodes import PLAIN, TAG, Invalid, compose

_LARGEST = 100_000
"""Nodes after aliases are followed: a small file can otherwise grow without end."""

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


def parse_yaml(text: str, source: Source) -> Section | None:
    """The document as a Section; None when it is not one, with the reasons in `source.problems`."""
    try:
        root = compose(text)
        if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == PLAIN and not root.value):
            return Section(source.origin(1), "")
        if isinstance(root, yaml.MappingNode):
            return _Converter(source).section(root, "")
        source.problem(_line(root), f"expected keys and values (`key: value`), not {_kind(root)}")
    except Invalid as error:
        source.problem(error.line, error.message)
    except yaml.reader.ReaderError as error:
        at = text.count("\n", 0, error.position) + 1
        source.problem(at, f"character {_character(error.character)} is not allowed in YAML")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        source.problem(line, f"not valid YAML: {error.problem}{_hint(text, line)}")
    return None


def parse_flow(text: str, source: Source, path: str) -> Any:
    """The value of an option that was written as YAML (a list, a mapping or quoted text): a Section or plain data."""
    try:
        root = compose(text)
        converter = _Converter(source)
        return converter.section(root, path) if isinstance(root, yaml.MappingNode) else converter.data(root, path)
    except Invalid as error:
        source.problem(None, error.message, path)
    except yaml.YAMLError as error:
        source.problem(None, f"not valid YAML: {getattr(error, 'problem', None) or error}", path)
    return None


class _Converter:
    """Nodes to Sections and Values."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.open: list[int] = []
        """Ids of the collections that are being converted, to catch one that contains itself."""
        self.size = 0

    def section(self, node: Any, path: str) -> Section | None:
        section = Section(self.source.origin(_line(node)), path)
        if not self._enter(node, path):
            return None
        self._check_tag(node, ("map",), path)
        for name, (key, value) in self._pairs(node, path).items():
            inner = f"{path}.{name}" if path else name
            if isinstance(value, yaml.MappingNode):
                below = self.section(value, inner)
                if below is not None:
                    below.origin = self.source.origin(_line(key))
                    section[name] = below
            else:
                data = self.data(value, inner)
                section[name] = Value(data=data, origin=self.source.origin(_line(key)), path=inner)
        self.open.pop()
        return section

    def data(self, node: Any, path: str) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if not self._enter(node, path):
            return None
        result: Any
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, ("seq",), path)
            result = [self.data(item, path) for item in node.value]
        else:
            self._check_tag(node, ("map",), path)
            result = {name: self.data(value, path) for name, (_, value) in self._pairs(node, path).items()}
        self.open.pop()
        return result

    def _pairs(self, node: Any, path: str) -> dict[str, tuple[Any, Any]]:
        """The pairs of a mapping: its own, and below them those of its merge keys (`<<`)."""
        own: dict[str, tuple[Any, Any]] = {}
        merged: dict[str, tuple[Any, Any]] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = self._key(key, path)
            if name is None:
                continue
            if name in lines:
                here = f"{path}.{name}" if path else name
                self.source.problem(_line(key), f"set twice: the first is in line {lines[name]}", here)
                continue
            lines[name] = _line(key)
            if name == "<<" and key.tag == PLAIN:
                merged = self._merged(value, path)
            else:
                own[name] = (key, value)
        return {**merged, **own}

    def _merged(self, node: Any, path: str) -> dict[str, tuple[Any, Any]]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, tuple[Any, Any]] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                self.source.problem(_line(node), "`<<` takes a mapping or a list of mappings", path)
            elif self._enter(part, path):
                # The first of several wins, as YAML defines it.
                merged = {**self._pairs(part, path), **merged}
                self.open.pop()
        return merged

    def _key(self, key: Any, path: str) -> str | None:
        line = _line(key)
        if not isinstance(key, yaml.ScalarNode):
            self.source.problem(line, f"a key must be text, not {_kind(key)}", path)
            return None
        name: str = key.value
        is_text = key.tag == f"{TAG}str" or (key.tag == PLAIN and isinstance(_resolved(name), str))
        if not is_text:
            self.source.problem(line, f'the key {name or "null"} is not text; quote it: "{name}"', path)
        elif not name or "." in name:
            section, _, rest = name.partition(".")
            remedy = f"has a dot in it; write `{section}:` and, indented below it, `{rest}:`" if name else "is empty"
            self.source.problem(line, f"the key {name!r} {remedy}", path)
        else:
            return name
        return None

    def _scalar(self, node: Any, path: str) -> Any:
        self._count(node)
        if node.tag == PLAIN:
            return self.source.plain(node.value, _line(node), path)
        if node.tag == f"{TAG}str":
            return self.source.text(node.value, _line(node), path)
        name = node.tag.removeprefix(TAG)
        if name not in _TYPES:
            self.source.problem(_line(node), f"the tag {_shown(node.tag)} is not supported here", path)
            return None
        data = self.source.plain(node.value, _line(node), path)
        if not isinstance(data, _TYPES[name]) or (name != "bool" and isinstance(data, bool)):
            self.source.problem(_line(node), f"{node.value!r} is not a value of the tag !!{name}", path)
        return float(data) if name == "float" and isinstance(data, int) else data

    def _check_tag(self, node: Any, allowed: tuple[str, ...], path: str) -> None:
        if node.tag not in ("", "!", *(TAG + name for name in allowed)):
            self.source.problem(_line(node), f"the tag {_shown(node.tag)} is not supported here", path)

    def _enter(self, node: Any, path: str) -> bool:
        if id(node) in self.open:
            self.source.problem(_line(node), "contains itself through an anchor", path)
            return False
        self._count(node)
        self.open.append(id(node))
        return True

    def _count(self, node: Any) -> None:
        self.size += 1
        if self.size > _LARGEST:
            raise Invalid(_line(node), f"more than {_LARGEST} values once the aliases are followed")


def _resolved(text: str) -> Any:
    try:
        return resolve(text)
    except ValueError:
        return None


def _line(node: Any) -> int:
    line: int = node.start_mark.line + 1
    return line


def _kind(node: Any) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "a single value"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _shown(tag: str) -> str:
    return f"!!{tag.removeprefix(TAG)}" if tag.startswith(TAG) else tag


def _character(character: Any) -> str:
    return f"U+{character:04X}" if isinstance(character, int) else repr(character)


def _hint(text: str, line: int | None) -> str:
    lines = text.splitlines()
    if line is None or not 0 < line <= len(lines):
        return ""
    indent = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
    return "; indent with spaces, not tabs" if "\t" in indent else ""

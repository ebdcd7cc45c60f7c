"""Moving keys within a YAML text, with their comments. upgrade.py calls it."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent
from typing import Any, NamedTuple

import yaml

from primus.experiment.dump import format_data
from primus.experiment.edit import CantEdit, Move, Text
from primus.experiment.yaml_nodes import Invalid, compose

KeyPath = tuple[str, ...]
_STEP = "  "


class _Entry(NamedTuple):
    """One `key: value`."""

    path: KeyPath
    parent: Any
    """The mapping node that it stands in."""

    key: Any
    value: Any

    @property
    def first(self) -> int:
        """Its first line, from 1."""
        return int(self.key.start_mark.line) + 1

    @property
    def last(self) -> int:
        """Its last line."""
        return self.first if _is_alias(self) else _last_line(self.value)


def move_keys(text: str, above: KeyPath, moves: list[Move]) -> str:
    """The text with each move made; paths are below the section `above`. Raises CantEdit."""
    moves = [move._replace(old=(*above, *move.old), new=(*above, *move.new)) for move in moves]
    edited = _Editor(text, moves).run()
    try:
        actual = _meaning(compose(edited))
    except (yaml.YAMLError, Invalid):
        actual = None
    if actual is None or _pruned(actual) != _pruned(_moved(_meaning(compose(text)), moves)):
        raise CantEdit("its sections are too entangled to move keys between them", 1)
    return edited


class _Editor:
    def __init__(self, text: str, moves: list[Move]) -> None:
        self.text = Text(text)
        self.root = compose(self.text.text)
        self.entries = {entry.path: entry for entry in _entries(self.root, ())}
        self.moves = moves
        self.cut: set[KeyPath] = set()
        self.pasted: dict[KeyPath, dict[str, Any]] = {}
        """What goes into each existing section: blocks of lines, and sections that are made to hold some."""

    def run(self) -> str:
        for move in self.moves:
            entry = self.entries.get(move.old)
            if entry is None:
                raise CantEdit(f"{'.'.join(move.old)} is now {'.'.join(move.new)}, but comes from an anchor", 1)
            if move.new[:-1] == move.old[:-1]:
                for start, end, new in _changes(entry, move):
                    self.text.replace((start, end), new)
            else:
                self._cut(entry, move)
        for entry in self.entries.values():
            if self._is_emptied(entry):
                self.text.remove(entry.first, entry.first)
        for path, content in self.pasted.items():
            inside = [entry for entry in self.entries.values() if entry.path[:-1] == path]
            margin = " " * int(inside[0].key.start_mark.column)
            self.text.insert_after(max(entry.last for entry in inside), indent("".join(_lines(content)), margin))
        return self.text.result()

    def _cut(self, entry: _Entry, move: Move) -> None:
        if entry.parent.flow_style:
            raise CantEdit(f"{'.'.join(move.old)} is now {'.'.join(move.new)}, but stands within braces", entry.first)
        first = self.text.comment_above(entry.first)
        block = self.text.block(first, entry.last, _changes(entry, move))
        self.text.remove(first, entry.last)
        self.cut.add(entry.path)
        section = self._deepest(move)
        content = self.pasted.setdefault(section, {})
        for name in move.new[len(section) : -1]:
            content = content.setdefault(name, {})
        content[move.new[-1]] = _dedented(block, int(entry.key.start_mark.column))

    def _deepest(self, move: Move) -> KeyPath:
        """The section nearest to the key's new place that is there already."""
        path = move.new[:-1]
        while path and path not in self.entries:
            path = path[:-1]
        node = self.entries[path].value if path else self.root
        if not isinstance(node, yaml.MappingNode) or node.flow_style:
            line = self.entries[path].first
            raise CantEdit(f"{'.'.join(move.old)} goes into {'.'.join(path)}, which is not an indented section", line)
        return path

    def _is_emptied(self, entry: _Entry) -> bool:
        """Whether nothing is left below a section that had something."""
        below = [path for path in self.entries if path[: len(entry.path)] == entry.path and path != entry.path]
        leaves = [path for path in below if not isinstance(self.entries[path].value, yaml.MappingNode)]
        kept = any(path[: len(entry.path)] == entry.path for path in self.pasted)
        return bool(leaves) and all(path in self.cut for path in leaves) and not kept


def _entries(node: Any, path: KeyPath) -> Iterator[_Entry]:
    for key, value in node.value:
        entry = _Entry((*path, str(key.value)), node, key, value)
        yield entry
        if isinstance(value, yaml.MappingNode) and not _is_alias(entry):
            yield from _entries(value, entry.path)


def _is_alias(entry: _Entry) -> bool:
    """Whether the value stands elsewhere, at its anchor."""
    return bool(entry.value.start_mark.index < entry.key.start_mark.index)


def _last_line(node: Any) -> int:
    if isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(node, yaml.MappingNode) else last)
    end = node.end_mark
    # A block of text (`|`) ends at the start of the line below it.
    return int(end.line) + (0 if end.column == 0 and end.index > node.start_mark.index else 1)


def _changes(entry: _Entry, move: Move) -> list[tuple[int, int, str]]:
    """The changes to an entry's own text: its key, and its value when that differs."""
    spans = [(entry.key, format_data(move.new[-1]))]
    if move.changed:
        if not isinstance(entry.value, yaml.ScalarNode) or _is_alias(entry):
            raise CantEdit(f"{'.'.join(move.old)} is now {'.'.join(move.new)}, with other values", entry.first)
        spans.append((entry.value, format_data(move.data)))
    return [(int(node.start_mark.index), int(node.end_mark.index), new) for node, new in spans]


def _lines(content: dict[str, Any]) -> Iterator[str]:
    for name, below in content.items():
        if isinstance(below, str):
            yield below
        else:
            yield f"{format_data(name)}:\n"
            yield from (indent(line, _STEP) for line in _lines(below))


def _dedented(block: str, margin: int) -> str:
    lines = block.splitlines(keepends=True)
    return "".join(line[margin:] if not line[:margin].strip() else line.lstrip(" ") for line in lines)


def _meaning(node: Any) -> Any:
    """A node as plain data in which every scalar keeps its tag."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _meaning(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_meaning(item) for item in node.value]
    return node.tag, node.value


def _moved(document: dict[str, Any], moves: list[Move]) -> dict[str, Any]:
    """What the edited text must mean."""
    for move in moves:
        source, target = document, document
        for name in move.old[:-1]:
            source = source[name]
        data = source.pop(move.old[-1])
        for name in move.new[:-1]:
            target = target.setdefault(name, {})
        target[move.new[-1]] = _meaning(compose(format_data(move.data))) if move.changed else data
    return document


def _pruned(document: dict[str, Any]) -> dict[str, Any]:
    """The document without its empty sections."""
    below = {name: _pruned(node) if isinstance(node, dict) else node for name, node in document.items()}
    return {name: node for name, node in below.items() if node != {}}

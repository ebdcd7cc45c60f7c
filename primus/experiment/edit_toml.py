"""Moving keys within a TOML text, with their comments. upgrade.py calls it."""

from __future__ import annotations

import json
import re
from typing import Any

from primus.experiment import toml_parser
from primus.experiment.edit import CantEdit, Move, Text
from primus.experiment.toml_scan import Entry, Header, KeyPath, Scan, scan

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def move_keys(text: str, above: KeyPath, moves: list[Move]) -> str:
    """The text with each move made; paths are below the section `above`. Raises CantEdit."""
    moves = [move._replace(old=(*above, *move.old), new=(*above, *move.new)) for move in moves]
    edited = _Editor(text, scan(text), moves).run()
    try:
        actual: dict[str, Any] | None = toml_parser.loads(edited)
    except toml_parser.TOMLDecodeError:
        actual = None
    if actual is None or _pruned(actual) != _pruned(_moved(toml_parser.loads(text), moves)):
        raise CantEdit("its sections are too entangled to move keys between them", 1)
    return edited


class _Editor:
    def __init__(self, text: str, found: Scan, moves: list[Move]) -> None:
        self.text = Text(text)
        self.scan = found
        self.moves = {move.old: move for move in moves}
        self.entries = {entry.path: entry for entry in found.entries}
        self.blocks: dict[KeyPath, list[str]] = {}
        """Lines that go into each section, by its path."""
        self.cut: set[KeyPath] = set()
        self.renamed: dict[KeyPath, KeyPath] = {}
        """The old path of each section that got a new name where it stands, by its new path."""
        self.end = len(self.text.starts) - 1

    def run(self) -> str:
        for header in self.scan.headers:
            self._rename_section(header)
        for move in self.moves.values():
            self._move(move)
        for header in self.scan.headers:
            own = [entry for entry in self.entries.values() if entry.table == header.path]
            if own and all(entry.path in self.cut for entry in own) and header.path not in self.blocks:
                self.text.remove(header.line, header.line)
        for section, blocks in self.blocks.items():
            self._paste(section, "".join(blocks))
        return self.text.result()

    def _move(self, move: Move) -> None:
        entry = self.entries.get(move.old)
        if entry is None or (entry.inline and move.new[:-1] != move.old[:-1]):
            line = entry.line if entry else self.scan.lines.get(move.old, 1)
            raise CantEdit(f"{'.'.join(move.old)} is now {'.'.join(move.new)}, but stands in an inline table", line)
        if move.new[:-1] == move.old[:-1]:
            self._rename_in_place(entry, move)
        else:
            self._cut(entry, move)

    def _rename_section(self, header: Header) -> None:
        """Give a section whose keys all go to one new section its new name, where it stands."""
        own = [entry for entry in self.entries.values() if entry.table == header.path and not entry.inline]
        targets = {self.moves[entry.path].new[:-1] if entry.path in self.moves else header.path for entry in own}
        if header.is_array or len(targets) != 1 or header.path in targets:
            return
        (target,) = targets
        if target in self.scan.lines or target in self.renamed:
            return
        self.renamed[target] = header.path
        self.text.replace(header.name, _written(target))
        for entry in own:
            move = self.moves.pop(entry.path)
            for change in _changes(entry, move):
                self.text.replace(change[:2], change[2])

    def _rename_in_place(self, entry: Entry, move: Move) -> None:
        relative = (*entry.path[len(entry.table) : -1], move.new[-1])
        for change in _changes(entry, move, relative):
            self.text.replace(change[:2], change[2])

    def _cut(self, entry: Entry, move: Move) -> None:
        first = self.text.comment_above(entry.line)
        self.blocks.setdefault(move.new[:-1], []).append(self.text.block(first, entry.last_line, _changes(entry, move)))
        self.text.remove(first, entry.last_line)
        self.cut.add(entry.path)

    def _paste(self, section: KeyPath, lines: str) -> None:
        standing = self.renamed.get(section, section)
        headers = [header for header in self.scan.headers if header.path == standing and not header.is_array]
        inside = [entry.last_line for entry in self.entries.values() if entry.table == standing and not entry.inline]
        if headers:
            self.text.insert_after(max([headers[0].line, *inside]), lines)
        else:
            gap = "\n" if self.end and self.text.line(self.end).strip() else ""
            self.text.insert_after(self.end, f"{gap}[{_written(section)}]\n{lines}")


def _changes(entry: Entry, move: Move, relative: KeyPath | None = None) -> list[tuple[int, int, str]]:
    """The changes to an entry's own text: its key, and its value when that differs."""
    changes = [(*entry.key, _written(relative or move.new[-1:]))]
    if move.changed:
        changes.append((*entry.value, _value(move, entry)))
    return changes


def _value(move: Move, entry: Entry) -> str:
    if move.data is None:
        raise CantEdit(f"{'.'.join(move.new)} would be null, which TOML can't say; remove the line", entry.line)
    return json.dumps(move.data, ensure_ascii=False)


def _written(path: KeyPath) -> str:
    return ".".join(name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in path)


def _moved(document: dict[str, Any], moves: list[Move]) -> dict[str, Any]:
    """What the edited text must mean."""
    for move in moves:
        source, target = document, document
        for name in move.old[:-1]:
            source = source[name]
        data = source.pop(move.old[-1])
        for name in move.new[:-1]:
            target = target.setdefault(name, {})
        target[move.new[-1]] = move.data if move.changed else data
    return document


def _pruned(document: dict[str, Any]) -> dict[str, Any]:
    """The document without its empty sections."""
    below = {name: _pruned(node) if isinstance(node, dict) else node for name, node in document.items()}
    return {name: node for name, node in below.items() if node != {}}

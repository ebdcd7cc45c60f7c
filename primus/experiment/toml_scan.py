"""Where the keys of a TOML text stand. toml_file.py needs their lines, upgrade.py the places to edit.

Only for text that the standard parser has accepted: what is not TOML makes the scanner go astray.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from primus.experiment import toml_parser

KeyPath = tuple[str, ...]


class Entry(NamedTuple):
    """One `key = value`."""

    path: KeyPath
    """Full path of the key, from the top of the document."""

    table: KeyPath
    """The section or inline table that the written key is relative to."""

    key: tuple[int, int]
    """Offsets of the key as it is written."""

    value: tuple[int, int]
    line: int
    """From 1."""

    last_line: int
    inline: bool
    """Within an inline table or a list, not on lines of its own."""


class Header(NamedTuple):
    """One `[section]` or `[[section]]`."""

    path: KeyPath
    name: tuple[int, int]
    """Offsets of the path as it is written."""

    line: int
    is_array: bool


class Scan(NamedTuple):
    """The positions in one document."""

    entries: list[Entry]
    headers: list[Header]
    lines: dict[KeyPath, int]
    """The line of each key and of the first mention of each section, by its full path."""


def scan(text: str) -> Scan:
    """The positions of everything in a valid TOML text."""
    return _Scanner(text).result


class _Scanner:
    _BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
    _SPACE = re.compile(r"[ \t]*")
    _BARE = re.compile(r"[A-Za-z0-9_-]+")
    _STRING = re.compile(
        r'"""(?:[^\\]|\\.)*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'",
        re.DOTALL,
    )
    _ATOM = re.compile(r"[^\s,\]}#]+(?: [0-9][^\s,\]}#]*)?")
    """A number, a boolean or a date; a date may have a space before its time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.result = Scan([], [], {})
        table: KeyPath = ()
        self._skip(self._BLANK)
        while self.at < len(text):
            if text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table, inline=False)
            self._skip(self._BLANK)

    def _header(self) -> KeyPath:
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        line = self.line
        self._advance(brackets)
        table, span = self._key(())
        self._advance(brackets)
        self.result.headers.append(Header(table, span, line, brackets == 2))
        return table

    def _pair(self, table: KeyPath, *, inline: bool) -> None:
        line = self.line
        path, key = self._key(table)
        self._advance(1)  # the equals sign
        self._skip(self._SPACE)
        start = self.at
        self._value(path)
        self.result.entries.append(Entry(path, table, key, (start, self.at), line, self.line, inline))

    def _key(self, prefix: KeyPath) -> tuple[KeyPath, tuple[int, int]]:
        """One dotted key; notes the line of it and of the sections that it opens."""
        path = prefix
        self._skip(self._SPACE)
        start = self.at
        while True:
            path = (*path, self._name())
            end = self.at
            self.result.lines.setdefault(path, self.line)
            self._skip(self._SPACE)
            if self.text[self.at] != ".":
                return path, (start, end)
            self._advance(1)
            self._skip(self._SPACE)

    def _name(self) -> str:
        if self.text[self.at] in "\"'":
            written = self._skip(self._STRING)
            name: str = next(iter(toml_parser.loads(f"{written} = 0")))
            return name
        return self._skip(self._BARE)

    def _value(self, path: KeyPath) -> None:
        self._skip(self._SPACE)
        opening = self.text[self.at]
        if opening == "{":
            self._items("}", lambda: self._pair(path, inline=True))
        elif opening == "[":
            # What stands in a list has no key of its own.
            self._items("]", lambda: self._value((*path, "[]")))
        elif opening in "\"'":
            self._skip(self._STRING)
        else:
            self._skip(self._ATOM)

    def _items(self, closing: str, read: Callable[[], None]) -> None:
        self._advance(1)
        self._skip(self._BLANK)
        while self.text[self.at] != closing:
            read()
            self._skip(self._BLANK)
            if self.text[self.at] == ",":
                self._advance(1)
                self._skip(self._BLANK)
        self._advance(1)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        skipped = match[0] if match else ""
        self._advance(len(skipped))
        return skipped

    def _advance(self, count: int) -> None:
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count

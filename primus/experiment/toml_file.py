"""TOML text to Sections and Values with their lines. files.py calls it.

The standard parser decides what the text means; it gives no positions, so a scanner reads the lines of the keys from
the text that the parser has accepted.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from primus.experiment.leaf import Source
from primus.experiment.model import Section, Value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


def parse_toml(text: str, source: Source) -> Section | None:
    """The document as a Section; None when it is not TOML, with the reason in `source.problems`."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        source.problem(None, "nested too deeply")
        return None
    except ValueError as error:
        message = str(error)
        position = _POSITION.search(message)
        line = int(position["line"] or text.count("\n") + 1) if position else None
        source.problem(line, f"not valid TOML: {_POSITION.sub('', message)}")
        return None
    return _Converter(source, key_lines(text)).section(document, ())


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of each key and section header of a valid TOML text, by its full path."""
    return _Scanner(text).lines


class _Converter:
    """Parsed TOML to Sections and Values."""

    def __init__(self, source: Source, lines: dict[tuple[str, ...], int]) -> None:
        self.source = source
        self.lines = lines

    def section(self, table: dict[str, Any], parts: tuple[str, ...]) -> Section:
        section = Section(self.source.origin(self.lines.get(parts, 1)), ".".join(parts))
        for name, item in table.items():
            inner = (*parts, name)
            path, line = ".".join(inner), self.lines.get(inner)
            if not name or "." in name:
                self.source.problem(line, f"the key {name!r} is empty or has a dot in it", section.path)
            elif isinstance(item, dict):
                section[name] = self.section(item, inner)
            else:
                data = self._data(item, line, path)
                section[name] = Value(data=data, origin=self.source.origin(line), path=path)
        return section

    def _data(self, item: Any, line: int | None, path: str) -> Any:
        if isinstance(item, str):
            return self.source.text(item, line, path)
        if isinstance(item, list):
            return [self._data(each, line, path) for each in item]
        if isinstance(item, dict):
            return {name: self._data(each, line, path) for name, each in item.items()}
        if not isinstance(item, (bool, int, float)):
            self.source.problem(line, f"{item} is a date or a time; write it as text, in quotes", path)
        return item


class _Scanner:
    """Walks through valid TOML and notes where each key stands."""

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
        self.lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        self._skip(self._BLANK)
        while self.at < len(text):
            if text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(self._BLANK)

    def _header(self) -> tuple[str, ...]:
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self._advance(brackets)
        table = self._key(())
        self._advance(brackets)
        return table

    def _pair(self, table: tuple[str, ...]) -> None:
        path = self._key(table)
        self._advance(1)  # the equals sign
        self._value(path)

    def _key(self, prefix: tuple[str, ...]) -> tuple[str, ...]:
        """One dotted key; notes the line of it and of the sections that it opens."""
        path = prefix
        while True:
            self._skip(self._SPACE)
            path = (*path, self._name())
            self.lines.setdefault(path, self.line)
            self._skip(self._SPACE)
            if self.text[self.at] != ".":
                return path
            self._advance(1)

    def _name(self) -> str:
        if self.text[self.at] in "\"'":
            written = self._skip(self._STRING)
            name: str = next(iter(tomllib.loads(f"{written} = 0")))
            return name
        return self._skip(self._BARE)

    def _value(self, path: tuple[str, ...]) -> None:
        self._skip(self._SPACE)
        opening = self.text[self.at]
        if opening == "{":
            self._items("}", lambda: self._pair(path))
        elif opening == "[":
            # What stands in a list has no key of its own.
            self._items("]", lambda: self._value((*path, "[]")))
        elif opening in "\"'":
            self._skip(self._STRING)
        else:
            self._skip(self._ATOM)

    def _items(self, closing: str, read: Any) -> None:
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

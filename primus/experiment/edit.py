"""Changes to a text by position, made all at once. edit_toml.py and edit_yaml.py plan with it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Move(NamedTuple):
    """One key that gets another path, and perhaps another value."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    data: Any
    changed: bool
    """Whether the value differs from the one that is written."""


class CantEdit(Exception):
    """A key stands where it can't be moved without rewriting what is around it."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Text:
    """A text of whole lines, and the changes that are planned for it. Lines count from 1."""

    def __init__(self, text: str) -> None:
        self.text = text if text.endswith("\n") or not text else f"{text}\n"
        self.starts = [0]
        self.starts += [found.end() for found in re.finditer("\n", self.text)]
        self.changes: list[tuple[int, int, str]] = []

    def line(self, number: int) -> str:
        """One line without its end."""
        return self.text[self.starts[number - 1] : self.starts[number]].rstrip("\r\n")

    def replace(self, span: tuple[int, int], new: str) -> None:
        """Plan to put `new` in the place of a stretch of text."""
        self.changes.append((*span, new))

    def remove(self, first: int, last: int) -> None:
        """Plan to take out whole lines."""
        self.changes.append((self.starts[first - 1], self.starts[last], ""))

    def insert_after(self, line: int, new: str) -> None:
        """Plan to put whole lines below a line."""
        self.changes.append((self.starts[line], self.starts[line], new))

    def block(self, first: int, last: int, changes: list[tuple[int, int, str]]) -> str:
        """Whole lines as they are after some changes of their own."""
        start = self.starts[first - 1]
        moved = [(begin - start, end - start, new) for begin, end, new in changes]
        return _changed(self.text[start : self.starts[last]], moved)

    def comment_above(self, line: int) -> int:
        """The first line of the comment that stands directly above a line; that line itself when there is none."""
        while line > 1 and self.line(line - 1).lstrip().startswith("#"):
            line -= 1
        return line

    def result(self) -> str:
        """The text with all planned changes."""
        return _changed(self.text, self.changes)


def _changed(text: str, changes: list[tuple[int, int, str]]) -> str:
    # From the end, so that positions stay true; of two at one place, the one planned first comes first.
    for _, (start, end, new) in sorted(enumerate(changes), key=lambda item: (item[1][:2], item[0]), reverse=True):
        text = text[:start] + new + text[end:]
    return text

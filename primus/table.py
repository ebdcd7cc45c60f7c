"""Rows of words as text with aligned columns, for every command that lists something. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """The header and the rows below each other; the columns in `right`, counted from 0, end at the right (numbers)."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join("  ".join(_aligned(line, widths, right)).rstrip() for line in (header, *rows))


def _aligned(line: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    return [
        cell.rjust(width) if index in right else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]

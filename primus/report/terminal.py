"""A curve in the terminal, drawn with the dots of Braille characters: eight in each cell. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of the dots in a cell, by row and column."""

HEIGHT = 10


def plot(title: str, steps: Sequence[int], values: array[float], *, width: int, height: int = HEIGHT) -> str:
    """The finite values over the steps: lowest to highest of each column of dots, so that spikes stay."""
    points = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    if not points:
        return f"{title}: no values"
    low, high = min(value for _, value in points), max(value for _, value in points)
    labels = [f"{high:.4g}", *[""] * (height - 2), f"{low:.4g}"]
    margin = max(map(len, labels))
    cells = _draw(points, low, high, max(10, width - margin - 2), height)
    lines = [
        f"{label:>{margin}} ┤{''.join(map(chr, row)).rstrip(chr(0x2800))}"
        for label, row in zip(labels, cells, strict=True)
    ]
    first, last = f"{points[0][0]:,}", f"{points[-1][0]:,}"
    axis = f"{'':{margin}}  {first}{last:>{max(len(last) + 1, len(cells[0]) - len(first))}}"
    return "\n".join([title, *lines, axis])


def _draw(points: Sequence[tuple[int, float]], low: float, high: float, width: int, height: int) -> list[list[int]]:
    """Code points of the characters, row by row from the top."""
    cells = [[0x2800] * width for _ in range(height)]
    begin, span = points[0][0], max(1, points[-1][0] - points[0][0])
    columns: dict[int, tuple[int, int]] = {}
    rows = height * 4 - 1
    for step, value in points:
        x = (step - begin) * (width * 2 - 1) // span
        y = round((high - value) / (high - low) * rows) if high > low else rows // 2
        top, bottom = columns.get(x, (y, y))
        columns[x] = (min(top, y), max(bottom, y))
    for x, (top, bottom) in columns.items():
        for y in range(top, bottom + 1):
            cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
    return cells

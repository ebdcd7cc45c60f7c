"""A report of stage 2 as a picture: bars of text for a terminal, SVG or HTML for a file. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from primus.errors import UsageError
from primus.tuning.tune.summary import WORDS, gain_line, headline

Report = Mapping[str, Any]

_EIGHTHS = " ▏▎▍▌▋▊▉"
_COLOURS = {"kept": "#1a7f5a", "shared": "#b7791f", "same": "#9aa5b1", "failed": "#b3261e"}
_INK = "#1f2933"
_ROW, _LEFT, _BAR, _RIGHT = 22, 400, 360, 240
"""Pixels: a row's height, and the widths of names, bars and what stands behind them."""


def bar(value: float, most: float, width: int) -> str:
    """A bar of text, `width` columns for `most`; empty for nothing or less."""
    eighths = round(max(0.0, value) / most * width * 8) if most > 0 else 0
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def most_gained(shapes: Sequence[Mapping[str, Any]]) -> float:
    """What the longest bar stands for."""
    return max((shape["gain"] for shape in shapes if "gain" in shape), default=0.0)


def plot_text(report: Report, path: Path) -> str:
    """The picture for a file, by its suffix."""
    match path.suffix.lower():
        case ".svg":
            return svg(report)
        case ".html" | ".htm":
            return _page(report)
    raise UsageError(f"--plot {path}: expected a name that ends in .svg or .html")


def svg(report: Report) -> str:
    """Gain by shape, the one first that training spends most time with."""
    shapes = report["shapes"]
    most, width = most_gained(shapes), _LEFT + _BAR + _RIGHT
    height = _ROW * (len(shapes) + 3)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(8, 16, f"{report['architecture']}, hipBLASLt {report['hipblaslt']}: {headline(report)}", weight="bold"),
        _text(8, 16 + _ROW, gain_line(report)),
    ]
    for number, shape in enumerate(shapes):
        lines += _drawn(shape, _ROW * (number + 2) + 16, most)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _drawn(shape: Mapping[str, Any], y: int, most: float) -> list[str]:
    gain = max(0.0, shape.get("gain", 0.0))
    length = gain / most * _BAR if most > 0 else 0.0
    name = shape["gemm"] if shape["with"] == "-" else f"{shape['gemm']}, {shape['with']}"
    colour = _COLOURS.get(shape["state"], _COLOURS["same"])
    lines = [_text(_LEFT - 8, y, name, anchor="end")]
    if length:
        lines.append(f'<rect x="{_LEFT}" y="{y - 12}" width="{length:.1f}" height="16" fill="{colour}"/>')
    return [*lines, _text(_LEFT + length + 6, y, _behind(shape), colour=colour)]


def _behind(shape: Mapping[str, Any]) -> str:
    if "gain" not in shape:
        return WORDS[shape["state"]]
    told = "" if shape["state"] == "kept" else f" {WORDS[shape['state']]}"
    return f"{shape['gain']:+.1%} ±{shape['noise']:.1%}, {shape['share']:.1%} of the time{told}"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#1f2933", weight: str = "normal"
) -> str:
    style = f'text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y}" {style}>{html.escape(text)}</text>'


def _page(report: Report) -> str:
    title = html.escape(f"GEMM tuning, {report['architecture']}")
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in report["notes"])
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n<body>\n'
        f"{svg(report)}{f'<ul>{notes}</ul>' if notes else ''}\n</body>\n</html>\n"
    )

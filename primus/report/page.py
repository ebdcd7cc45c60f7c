"""The HTML page: its template with style, scripts and data put in, written at once."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from primus.output import STANDARD, write_output
from primus.report.data import is_over, page_data, plain_json, read_runs

_PAGE = Path(__file__).parent / "page"


def render(data: Mapping[str, Any]) -> str:
    """The whole page. Pure but for reading the template."""
    scripts = "\n".join(_part(name) for name in ("dom.js", "chart.js", "export.js", "report.js"))
    parts = {
        "title": html.escape(f"{data['title']} - Primus report"),
        "style": _part("style.css"),
        "data": for_script(plain_json(data)),
        "script": scripts,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _part("page.html"))


def for_script(json_text: str) -> str:
    """JSON as it may stand inside of a <script> element: nothing in it can end the element or begin another."""
    for character in "<>&\u2028\u2029":
        json_text = json_text.replace(character, f"\\u{ord(character):04x}")
    return json_text


def write_report(paths: Sequence[Path], output: Path, *, reload: float | None = None) -> bool:
    """Write the page; whether all runs are over. `reload` is for a page that follows runs that are not."""
    runs = read_runs(paths)
    over = is_over(runs)
    page = render(page_data(runs, reload=None if over else reload))
    if output == STANDARD:
        print(page)
    else:
        write_output(output, page)
    return over


def watch_report(
    paths: Sequence[Path],
    output: Path,
    *,
    seconds: float,
    written: Callable[[], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write the page again and again until all runs are over; `written` is called after the first time."""
    over = write_report(paths, output, reload=seconds)
    written()
    while not over:
        sleep(seconds)
        over = write_report(paths, output, reload=seconds)


def _part(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")

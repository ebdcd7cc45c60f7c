"""TOML text to Sections and Values with their lines. files.py calls it.

The standard parser decides what the text means; it gives no positions, so toml_scan.py finds the lines of the keys.
"""

from __future__ import annotations

import re
from typing import Any

from primus.experiment import toml_parser
from primus.experiment.leaf import Source
from primus.experiment.model import Section, Value
from primus.experiment.toml_scan import scan

_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


def parse_toml(text: str, source: Source) -> Section | None:
    """The document as a Section; None when it is not TOML, with the reason in `source.problems`."""
    try:
        document = toml_parser.loads(text)
    except RecursionError:
        source.problem(None, "nested too deeply")
        return None
    except ValueError as error:
        message = str(error)
        position = _POSITION.search(message)
        line = int(position["line"] or text.count("\n") + 1) if position else None
        source.problem(line, f"not valid TOML: {_POSITION.sub('', message)}")
        return None
    return _Converter(source, scan(text).lines).section(document, ())


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

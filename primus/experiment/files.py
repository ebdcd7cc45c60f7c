"""One file to a Section: YAML or TOML by its suffix, variables replaced. inherit.py reads every file through this."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from primus.errors import MissingError, Problem
from primus.experiment.leaf import Source
from primus.experiment.model import Section
from primus.experiment.paths import SUFFIXES, shown

_LARGEST = 4 * 1024 * 1024
"""Bytes; a data set named by mistake should not be parsed for minutes."""


def read(path: Path, environ: Mapping[str, str], problems: list[Problem]) -> Section | None:
    """The file's Section, or None when it can't be parsed; what is wrong goes to `problems`."""
    source = Source(shown(path), environ, problems)
    if path.suffix not in SUFFIXES:
        source.problem(None, f"expected a file that ends in {', '.join(SUFFIXES)}")
        return None
    text = _text(path, source)
    if text is None:
        return None
    if path.suffix != ".toml":
        from primus.experiment.yaml_file import parse_yaml

        return parse_yaml(text, source)
    from primus.experiment.toml_file import parse_toml

    return parse_toml(text, source)


def _text(path: Path, source: Source) -> str | None:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise MissingError(f"{source.name}: can't be read: {error.strerror}") from error
    if len(raw) > _LARGEST:
        source.problem(None, f"larger than {_LARGEST // 1024**2} MiB; this is not an experiment file")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        source.problem(line, f"not UTF-8 text (byte 0x{raw[error.start]:02x})")
        return None

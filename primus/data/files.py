"""Small things that the formats and the journal do with files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def beside(path: Path, suffix: str) -> Path:
    """`path` with something after its last name."""
    return path.with_name(path.name + suffix)


def sync_file(path: Path) -> None:
    """Wait until a file is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_at(handle: int, data: memoryview | bytes, place: int) -> None:
    """Write all of `data` at one place of a file that others write to as well."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, place)
        view, place = view[written:], place + written


def write_note(path: Path, note: Mapping[str, Any]) -> None:
    """Write a JSON file for people and programs."""
    path.write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_note(path: Path) -> dict[str, Any] | None:
    """What write_note() wrote, or None when there is nothing, or something else."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return note if isinstance(note, dict) else None

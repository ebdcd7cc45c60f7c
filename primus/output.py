"""Files that a user names for what a command found out (`-o`, `--html`, `--csv`, `--plot`): looked at before the work
begins, since that may take minutes, and written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from primus.errors import MissingError, UsageError
from primus.run import write_text

STANDARD = Path("-")
"""What a user calls the standard output. A command whose own text goes there refuses it."""


def check_output(path: Path) -> None:
    """Whether a file can be written there, as far as can be told without writing it."""
    refuse_standard(path)
    if not path.name or os.path.isdir(path):
        raise UsageError(f"{path} is a folder; name a file")
    if not os.path.isdir(path.parent):
        raise MissingError(f"can't write {path}: there is no folder {path.parent}")
    place = path if _is_stream(path) else path.parent
    if not os.access(place, os.W_OK):
        raise MissingError(f"can't write {path}: {place} is read-only, or not yours to write; name another file")


def refuse_standard(path: Path) -> None:
    """`-` is no file, and the standard output is taken."""
    if path == STANDARD:
        raise UsageError("- stands for the standard output, where this command prints other things; name a file")


def write_output(path: Path, text: str) -> None:
    """Write it. A link is followed; a device or a pipe, such as /dev/stdout, is written into and never replaced."""
    check_output(path)
    with refusals(path):
        if _is_stream(path):
            with path.open("w", encoding="utf-8") as stream:
                stream.write(text)
        else:
            write_text(path.resolve(), text)


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """What to write into bit by bit: a file, or the standard output."""
    if path == STANDARD:
        yield sys.stdout
        return
    check_output(path)
    with refusals(path), path.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn the file system's refusals into an error; a reader that went away is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MissingError(f"can't write {path}: {error.strerror}") from error


def _is_stream(path: Path) -> bool:
    """Whether it is a device, a pipe or the like."""
    return os.path.exists(path) and not os.path.isfile(path)

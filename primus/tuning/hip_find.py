"""Where the ROCm libraries of this machine are. hip.py and hipblaslt/library.py load what is found here."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from primus.errors import MissingError

SUFFIXES = {
    "hipblaslt": ("", ".1", ".0"),
    "amdhip64": ("", ".7", ".6", ".5"),
}
"""What comes after `.so`: packages without headers have the numbered names only."""

ROCM_PATH = "ROCM_PATH"
DEFAULT_ROCM = Path("/opt/rocm")


def folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where to look, in this order. What PyTorch brings along is what training loads, so it goes first."""
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin:
        yield Path(spec.origin).parent / "lib"
    if environ.get(ROCM_PATH):
        yield Path(environ[ROCM_PATH]) / "lib"
    yield DEFAULT_ROCM / "lib"
    for entry in sys.path:  # the rocm-sdk wheels
        yield from sorted(path / "lib" for path in Path(entry).glob("_rocm_sdk_*"))


def find_library(name: str, explicit: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file of `hipblaslt` or `amdhip64`; `explicit` is a file, or a folder that must have it."""
    if explicit is not None:
        if explicit.is_dir():
            return next(_candidates([explicit], name), None)
        return explicit if explicit.exists() else None
    return next(_candidates(folders(environ), name), None)


def load_library(name: str, explicit: Path | None = None, environ: Mapping[str, str] = os.environ) -> ctypes.CDLL:
    """Load it, by its full path or, when it is in none of the usual folders, as the system's loader finds it."""
    found = find_library(name, explicit, environ)
    if found is None and explicit is not None:
        raise MissingError(f"{explicit}: no lib{name}.so there. Name the file, or the folder that has it.")
    if found is not None:
        try:
            return ctypes.CDLL(str(found))
        except OSError as error:
            raise MissingError(f"{found} can't be loaded: {error}") from None
    for suffix in SUFFIXES[name]:
        try:
            return ctypes.CDLL(f"lib{name}.so{suffix}")
        except OSError:
            continue
    places = ", ".join(dict.fromkeys(str(folder) for folder in folders(environ)))
    raise MissingError(
        f"lib{name}.so is not on this machine (looked into {places} and the system's loader). "
        f"It comes with ROCm: run this on a machine or in an image that has it, or set {ROCM_PATH}."
    )


def _candidates(places: Iterator[Path] | list[Path], name: str) -> Iterator[Path]:
    for folder in places:
        for suffix in SUFFIXES[name]:
            path = folder / f"lib{name}.so{suffix}"
            if path.exists():
                yield path

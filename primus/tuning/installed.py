"""Which hipBLASLt is installed here: by its header, without a GPU, or by asking it in a child process. Solution numbers
mean something for one build only, so stage 3 compares it with the tuning file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.tuning.hip_find import find_library
from primus.tuning.measure_process import Failure, ask

_HEADER = Path("include/hipblaslt/hipblaslt-version.h")
_DEFINE = re.compile(r'#define\s+HIPBLASLT_VERSION_(MAJOR|MINOR|PATCH|TWEAK)\s+"?([^\s"]+)')

ASKING_SECONDS = 120.0
"""A first handle loads the library's code, and may wait for a GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """A build of hipBLASLt, and the GPUs as far as they are known."""

    revision: str
    version: int | None
    """MAJOR * 100000 + MINOR * 100 + PATCH."""

    architecture: str = ""
    """Of the first GPU, as the device calls it; empty when it was not asked."""

    compute_units: int | None = None
    source: str
    """Where that is known from."""


def from_header(environ: Mapping[str, str] = os.environ) -> Installed | None:
    """What the header beside the library that training loads says; None without either."""
    library = find_library("hipblaslt", environ=environ)
    if library is None:
        return None
    header = library.parent.parent / _HEADER
    try:
        said = dict(_DEFINE.findall(header.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return None
    numbers = [said.get(name, "") for name in ("MAJOR", "MINOR", "PATCH")]
    if "TWEAK" not in said or not all(number.isdecimal() for number in numbers):
        return None
    major, minor, patch = map(int, numbers)
    return Installed(revision=said["TWEAK"], version=major * 100000 + minor * 100 + patch, source=str(header))


def from_library(environ: Mapping[str, str] = os.environ) -> Installed | Failure:
    """What the library itself says, with the first visible GPU; a Failure where there is none."""
    answer = ask({"do": "describe"}, timeout=ASKING_SECONDS, environ=environ)
    return answer if isinstance(answer, Failure) else described(answer)


def described(answer: Mapping[str, Any]) -> Installed:
    """The child's answer to `describe`."""
    device = answer["devices"][0]
    return Installed(
        revision=answer["git_revision"],
        version=answer["version"],
        architecture=device["arch"],
        compute_units=device["compute_units"],
        source="the library itself",
    )

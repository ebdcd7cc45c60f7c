"""What is known of a machine without loading a library of its drivers: kernel, memory, their versions. The manifest
keeps it."""

from __future__ import annotations

import os
import platform
import re
import socket
from pathlib import Path
from typing import Any

_DRIVERS = {
    "amdgpu": ("sys/module/amdgpu/version", r"(\S+)"),
    "rocm": ("opt/rocm/.info/version", r"(\S+)"),
    "nvidia": ("proc/driver/nvidia/version", r"NVRM version:.*?\s(\d+\.\d[\d.]*)\s"),
    "infiniband": ("sys/module/mlx5_core/version", r"(\S+)"),
}
"""File that says the version of each, and where in it."""


def machine_facts(root: Path = Path("/")) -> dict[str, Any]:
    """Host name, kernel, processors, memory, and the drivers that are there. `root` is the file system's root."""
    return {
        "host": socket.gethostname(),
        "kernel": platform.release(),
        "platform": platform.platform(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "drivers": {name: found for name in _DRIVERS if (found := _version(name, root)) is not None},
    }


def _version(name: str, root: Path) -> str | None:
    path, pattern = _DRIVERS[name]
    try:
        text = (root / path).read_text(errors="replace")
    except OSError:  # that driver is not here
        return None
    found = re.search(pattern, text)
    return found[1] if found else None

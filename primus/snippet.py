"""Runs a few lines of Python in a process of its own: for what takes seconds to import, or would hold a GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping


def run_snippet(code: str, *, environ: Mapping[str, str], seconds: float) -> subprocess.CompletedProcess[str] | None:
    """The ended process with what it has printed; None when it had to be killed after so many seconds."""
    try:
        return subprocess.run(
            [sys.executable, "-c", code],
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None

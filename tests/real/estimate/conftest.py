"""Scripts that measure in a process of their own, and the page that shows what they found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs/estimate.md"

Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def measure() -> Callable[..., Rows]:
    def measure(script: str, *words: str) -> Rows:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
        command = [sys.executable, "-W", "ignore", str(HERE / script), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        rows: Rows = json.loads(done.stdout.splitlines()[-1])
        return rows

    return measure


@pytest.fixture(scope="session")
def write() -> Callable[[str, list[str]], None]:
    def write(heading: str, lines: list[str]) -> None:
        """On request, put lines into the first table below a heading of the page."""
        if os.environ.get("PRIMUS_WRITE_DOCS"):
            before, found, after = PAGE.read_text(encoding="utf-8").partition(heading)
            assert found
            text = "".join(f"{line}\n" for line in lines)
            PAGE.write_text(
                before + found + re.sub(r"(?<=\|---\|\n)(?:\|.*\n)*", text, after, count=1), encoding="utf-8"
            )

    return write

"""The page about Python and its example train for real."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_python(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    names = ("PRIMUS_", "DATA_PATH", "EXP", "BACKEND")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    command = [sys.executable, str(program)]
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_example_trains_twice_and_compares(tmp_path: Path) -> None:
    done = run_python(ROOT / "examples/api.py", tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Did you mean micro_batch_size?" in done.stdout
    losses = [float(loss) for loss in re.findall(r"^step \d: loss (\d+\.\d+)$", done.stdout, re.MULTILINE)]
    assert len(losses) == 5
    assert losses[-1] < losses[0]
    (manifest,) = tmp_path.glob("output/*/*/slower/runs/*/manifest.json")
    assert json.loads(manifest.read_text())["command"][-1].endswith("examples/api.py")
    assert re.search(r"^After 5 steps: \d+\.\d+, slower \d+\.\d+$", done.stdout, re.MULTILINE)


def test_the_blocks_of_the_page_are_one_program_that_works(tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    blocks = BLOCK.findall((ROOT / "docs/api.md").read_text(encoding="utf-8"))
    program.write_text("".join(blocks), encoding="utf-8")

    done = run_python(program, tmp_path)

    assert len(blocks) == 6
    assert done.returncode == 0, done.stdout + done.stderr

"""What `make quickstart` runs after the setup, as a newcomer sees it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).parents[2] / "scripts" / "quickstart.py"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The closing table: cells by backend."""
    folder = tmp_path_factory.mktemp("quickstart")
    environment = {name: value for name, value in os.environ.items() if name not in ("DATA_PATH", "EXP", "BACKEND")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    lines = [line.split("  ") for line in done.stdout.splitlines()[-3:]]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    for row in rows:
        row[-1] = str(folder / row[-1])
    return {row[0]: row[1:] for row in rows}


def test_both_backends_learn(table: dict[str, list[str]]) -> None:
    """From about the loss of a guess among 257 bytes to well under half of it."""
    last = {name: float(row[3]) for name, row in table.items()}

    assert set(last) == {"megatron", "megatron, resumed", "torchtitan"}
    assert max(last.values()) < math.log(257) / 2


def test_the_resumed_run_goes_on_where_the_first_one_ended(table: dict[str, list[str]]) -> None:
    end = int(table["megatron"][1].split(" to ")[1])
    begin, last = map(int, table["megatron, resumed"][1].split(" to "))

    assert end < begin <= last
    assert float(table["megatron, resumed"][2]) < math.log(257) / 2


def test_the_run_directories_hold_the_whole_story(table: dict[str, list[str]]) -> None:
    for row in table.values():
        names = {path.name for path in Path(row[-1]).iterdir()}
        assert {"experiment.yaml", "manifest.json", "status.json", "metrics.jsonl", "model.json", "logs"} <= names

"""docs/failures.md: each fault's test exists, and the table of causes is that of the code. PRIMUS_WRITE_DOCS=1 writes
that one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from primus.launch import agent
from primus.launch.diagnosis import Cause, causes
from primus.launch.guard import STALLED

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/failures.md"
HEADER = "| cause | sentence | again |\n|---|---|---|\n"

TESTS = re.findall(r"`(tests/\S+?\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "test"), sorted(set(TESTS)))
def test_the_test_of_a_fault_exists(file, test):
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_fault_names_a_test():
    faults = PAGE.read_text(encoding="utf-8").partition("## Faults")[2].partition("## Known causes")[0]
    rows = [line for line in faults.splitlines() if line.startswith("| ") and not line.startswith("| fault ")]
    assert len(rows) > 30
    assert [row for row in rows if "::test_" not in row] == []


def test_the_table_of_causes_is_that_of_the_code():
    text = PAGE.read_text(encoding="utf-8")
    made = text.partition(HEADER)[0] + HEADER + "".join(map(row, causes()))
    if os.environ.get("PRIMUS_WRITE_DOCS"):
        PAGE.write_text(made, encoding="utf-8")
    assert text == made


def row(cause: Cause) -> str:
    sentence = re.sub(r"\{(\w+)\}", r"*\1*", cause.cause.replace("[", "").replace("]", ""))
    sentence += " (follows)" if cause.general else ""
    return f"| `{cause.name}` | {sentence} | {'yes' if cause.transient else 'no'} |\n"


def test_the_numbers_of_the_page_are_those_of_the_code():
    text = PAGE.read_text(encoding="utf-8")
    assert f"ends them after {agent._AFTERMATH:.0f} seconds" in text
    assert f"{STALLED} ends a job that has stalled" in text

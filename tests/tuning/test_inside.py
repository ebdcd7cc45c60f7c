"""What is asked of the library in a container: requests and answers as files, here without a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from primus.tuning.inside import ANSWER, REQUEST, as_json, as_outcome
from primus.tuning.tune import Outcome, TuneRequest


@pytest.fixture
def answer(tmp_path: Path):
    """Puts a request into a folder, and returns what the process answers."""

    def ask(request: dict[str, Any], **environ: str) -> dict[str, Any]:
        (tmp_path / REQUEST).write_text(json.dumps(request))
        command = [sys.executable, "-m", "primus.tuning.inside", str(tmp_path)]
        subprocess.run(command, env=os.environ | environ, timeout=60, check=True)
        return json.loads((tmp_path / ANSWER).read_text())

    return ask


def test_the_library_is_described(answer, rocm: Path):
    found = answer({"do": "describe"}, ROCM_PATH=str(rocm))
    assert found["answer"]["git_revision"] == "fa9cdd18"


def test_a_library_that_can_not_answer_is_a_failure_with_its_kind(answer, rocm: Path):
    found = answer({"do": "describe"}, ROCM_PATH=str(rocm), HIP_VISIBLE_DEVICES="-1")
    assert found["failure"]["kind"] == "no-device"


def test_what_stage_2_refuses_comes_back_with_its_status(answer, tmp_path: Path):
    request = TuneRequest(shapes=tmp_path / "none.jsonl", results=tmp_path / "results.txt", also=frozenset({"te"}))
    found = answer({"tune": as_json(request)})
    assert found["status"] == 4
    assert "none.jsonl" in found["error"]


def test_an_outcome_comes_back_as_it_was(tmp_path: Path):
    outcome = Outcome(
        results=tmp_path / "r", report=tmp_path / "j", kept=1, same=2, failed=3, left=4, status=6, messages=("a", "b")
    )
    assert as_outcome(json.loads(json.dumps(as_json(outcome)))) == outcome

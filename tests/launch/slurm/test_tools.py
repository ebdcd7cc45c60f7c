"""SLURM's refusals, with what they mean."""

from __future__ import annotations

import pytest

from primus.errors import MissingError, ServiceError
from primus.launch.slurm.tools import NoAnswer, call, refusal

SAID = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (SAID + "Invalid partition name specified", "--partition: there is no such partition"),
        (SAID + "Invalid account or account/partition combination specified", "--account: not one of yours"),
        (SAID + "Invalid qos specification", "--qos: not one of yours"),
        (SAID + "Requested time limit is invalid (missing or exceeds some limit)", "--time: longer than"),
        (SAID + "Invalid feature specification", "--constraint: no node has it"),
        (SAID + "Invalid generic resource (gres) specification", "--gres or --gpus-per-node: no node has it"),
        (SAID + "Memory specification can not be satisfied", "--mem: more than a node has"),
        (SAID + "Invalid node name specified", "--nodelist or --exclude"),
        (SAID + "Job dependency problem", "--dependency: one of those jobs"),
        (SAID + "Requested reservation is invalid", "--reservation: it does not exist"),
        (SAID + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", "a limit of"),
        (SAID + "Requested node configuration is not available", "no set of nodes"),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", "controller does not answer"),
        (SAID + "Socket timed out on send/recv operation", "overloaded"),
        ("sbatch: unrecognized option '--frobnicate'", "does not know"),
    ],
)
def test_a_refusal_is_passed_on_with_its_meaning(text, meaning):
    first, last = refusal("sbatch", text).splitlines()
    assert first.startswith("SLURM refused: ")
    assert "sbatch: " not in first
    assert last.startswith("This means: ")
    assert meaning in last


def test_a_refusal_that_nobody_foresaw_is_passed_on_as_it_is():
    assert refusal("sbatch", "sbatch: error: The moon is full\n") == "SLURM refused: The moon is full"
    assert refusal("sbatch", "") == "SLURM refused: sbatch failed and says nothing"


@pytest.fixture
def tool(tmp_path):
    """Makes a program called sbatch; the environment that finds it."""

    def make(script):
        (tmp_path / "sbatch").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "sbatch").chmod(0o755)
        return {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    return make


def test_what_a_tool_prints_comes_back(tool):
    assert call("sbatch", ["--parsable"], tool('echo "$1 12"')) == "--parsable 12\n"


def test_a_tool_that_refuses_is_an_error_of_the_service(tool):
    with pytest.raises(ServiceError, match="SLURM refused: no"):
        call("sbatch", [], tool("echo 'sbatch: error: no' >&2; exit 1"))


def test_a_tool_that_hangs_may_have_done_its_work(tool):
    with pytest.raises(NoAnswer, match="look with `squeue --me` what it has done"):
        call("sbatch", [], tool("exec sleep 60"), timeout=0.1)


def test_a_tool_that_is_not_here_is_missing():
    with pytest.raises(MissingError, match="sbatch is not on the PATH"):
        call("sbatch", [], {"PATH": "/nonexistent"})

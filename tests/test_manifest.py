"""What a run's manifest records."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from primus.job import Job, Resources
from primus.manifest import git_state, manifest, packages
from primus.redact import HIDDEN

JOB = Job(
    name="toy",
    backend="megatron",
    module="toy.worker",
    args=("--resume", "auto"),
    resources=Resources(nnodes=2, nproc_per_node=8, master_addr="a", master_port=1),
    run_dir=Path("/runs/1"),
)


def test_it_is_json_and_says_what_was_started():
    made = json.loads(json.dumps(manifest(JOB, command=["primus", "train"], environment={}, started="now")))
    assert made["command"] == ["primus", "train"]
    assert made["worker"] == ["python", "-m", "toy.worker", "/runs/1", "--resume", "auto"]
    assert made["resources"]["world_size"] == 16
    assert made["python"]["executable"] == sys.executable


def test_it_holds_no_secret():
    made = manifest(JOB, command=["primus", "--token=abc"], environment={"HF_TOKEN": "abcdef"}, started="now")
    assert "abc" not in json.dumps(made["command"]) + json.dumps(made["environment"])
    assert made["environment"] == {"HF_TOKEN": HIDDEN}


def test_versions_are_those_that_would_be_imported():
    assert packages()["pytest"] == version("pytest")


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def test_the_state_of_a_checkout_tells_a_clean_from_a_changed_one(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    git(tmp_path, "remote", "add", "origin", "https://me:secret@example.org/x.git")
    clean = git_state(tmp_path)
    assert len(clean["revision"]) == 40
    assert (clean["dirty"], clean["diff_sha256"]) == (False, None)
    assert clean["remote"] == f"https://{HIDDEN}@example.org/x.git"
    (tmp_path / "file").write_text("two")
    changed = git_state(tmp_path)
    assert changed["dirty"]
    (tmp_path / "file").write_text("three")
    assert git_state(tmp_path)["diff_sha256"] not in (None, changed["diff_sha256"])


def test_outside_of_a_checkout_there_is_none(tmp_path):
    assert git_state(tmp_path) is None


def test_a_machine_without_git_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None

"""What a run's manifest records."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from primus.job import Job, Resources
from primus.manifest import manifest, packages, write_manifest
from primus.redact import HIDDEN
from primus.run import RunDirectory

JOB = Job(
    name="toy",
    backend="megatron",
    module="toy.worker",
    args=("--resume", "auto"),
    resources=Resources(nnodes=2, nproc_per_node=8, master_addr="a", master_port=1),
    run_dir=Path("/runs/1"),
)


def test_it_is_json_and_says_what_was_started():
    facts = manifest(JOB, command=["primus", "train"], environment={}, started="now", checkouts={})
    made = json.loads(json.dumps(facts))
    assert made["command"] == ["primus", "train"]
    assert made["worker"] == ["python", "-m", "toy.worker", "/runs/1", "--resume", "auto"]
    assert made["resources"]["world_size"] == 16
    assert made["python"]["executable"] == sys.executable


def test_it_holds_no_secret():
    environment = {"HF_TOKEN": "abcdef"}
    made = manifest(JOB, command=["primus", "--token=abc"], environment=environment, started="now", checkouts={})
    assert "abc" not in json.dumps(made["command"]) + json.dumps(made["environment"])
    assert made["environment"] == {"HF_TOKEN": HIDDEN}


def test_versions_are_those_that_would_be_imported():
    assert packages()["pytest"] == version("pytest")


def write(job, **environment):
    RunDirectory(job.run_dir).create({}, node=job.resources.node_rank)
    found = {"kind": "amd", "count": 8}
    write_manifest(job, command=["x"], environment=environment, started="now", accelerators=found, more={"a": 1})


def test_every_node_writes_its_machine_and_node_0_the_manifest(tmp_path):
    for node in (0, 1):
        write(replace(JOB, run_dir=tmp_path, resources=replace(JOB.resources, node_rank=node)))
    machines = [json.loads((tmp_path / f"facts/node{node}.json").read_text()) for node in (0, 1)]
    assert [machine["accelerators"] for machine in machines] == [{"kind": "amd", "count": 8}] * 2
    made = json.loads((tmp_path / "manifest.json").read_text())
    assert made["machine"] == machines[0]
    assert (made["format"], made["a"]) == (1, 1)


def test_changes_of_the_code_in_use_are_saved(tmp_path, monkeypatch):
    for name in ("project", "megatron"):
        (tmp_path / name).mkdir()
        for command in (["init"], ["-c", "user.name=t", "-c", "user.email=t@x", "commit", "--allow-empty", "-m", "x"]):
            subprocess.run(["git", "-C", str(tmp_path / name), *command], check=True, capture_output=True)
        (tmp_path / name / "file").write_text(f"of {name}\n")
        subprocess.run(["git", "-C", str(tmp_path / name), "add", "file"], check=True)
    monkeypatch.chdir(tmp_path / "project")
    write(replace(JOB, run_dir=tmp_path / "run"), MEGATRON_PATH=str(tmp_path / "megatron"))
    git = json.loads((tmp_path / "run/manifest.json").read_text())["git"]
    assert git["working_directory"]["dirty"]
    assert git["megatron_path"]["root"] == str(tmp_path / "megatron")
    assert "+of project" in (tmp_path / "run/facts/working_directory.diff").read_text()
    assert "+of megatron" in (tmp_path / "run/facts/megatron_path.diff").read_text()

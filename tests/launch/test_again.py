"""Reading a run that is to be started again, and comparing then with now."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from primus.errors import MissingError
from primus.job import Job, Resources
from primus.launch.again import differences, read_run
from primus.launch.devices import Accelerators
from primus.manifest import write_manifest
from primus.run import RunDirectory

HERE = Accelerators(kind="amd", count=8, model="gfx942", evidence="")


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """The directory of a run that was started here and now."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # without git
    job = Job(
        name="toy",
        backend="megatron",
        module="toy",
        resources=Resources(nnodes=2, nproc_per_node=4, master_addr="a", master_port=1),
        run_dir=tmp_path / "runs/1",
    )
    made = RunDirectory(job.run_dir)
    made.create({"experiment.yaml": "x"})
    write_manifest(
        job, command=["x"], environment={"NCCL_DEBUG": "INFO"}, started="", accelerators=asdict(HERE), more={}
    )
    return made


def change(run_dir, **fields):
    manifest = json.loads(run_dir.manifest.read_text())
    run_dir.manifest.write_text(json.dumps(manifest | fields))


def test_a_run_says_what_it_was_started_with(run_dir):
    earlier = read_run(run_dir.path)
    assert (earlier.nnodes, earlier.nproc_per_node) == (2, 4)
    assert earlier.experiment == run_dir.experiment
    assert earlier.container == {}


def test_nothing_is_different_right_after(run_dir):
    assert differences(read_run(run_dir.path), HERE, {"NCCL_DEBUG": "INFO"}) == []


def test_what_is_different_is_told_with_both_values(run_dir, monkeypatch, tmp_path):
    manifest = json.loads(run_dir.manifest.read_text())
    packages = {**manifest["packages"], "torch": "2.6.0", "gone": "1"}
    machine = {**manifest["machine"], "drivers": {"amdgpu": "6.3"}}
    change(run_dir, packages=packages, machine=machine, primus="0.0.1", git={"primus": {"revision": "a" * 40}})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    other = replace(HERE, count=4)
    told = differences(read_run(run_dir.path), other, {"NCCL_DEBUG": "WARN", "UNRELATED": "1"})
    text = "\n".join(told)
    assert f"working directory: {tmp_path} then, {tmp_path}/elsewhere now" in text
    assert "Primus: 0.0.1 then" in text
    assert "torch: 2.6.0 then" in text
    assert "gone: 1 then, none now" in text
    assert f"git checkout of primus: {'a' * 40} then, none now" in text
    assert "amdgpu driver: 6.3 then, none now" in text
    assert "accelerators: 8 gfx942 then, 4 gfx942 now" in text
    assert "NCCL_DEBUG: INFO then, WARN now" in text
    assert "UNRELATED" not in text
    assert text.index("torch: 2.6.0") < text.index("gone: 1")


def test_other_changes_on_the_same_revision_are_told(run_dir, monkeypatch):
    checkout = {"revision": "a" * 40, "diff_sha256": "1"}
    change(run_dir, git={"primus": checkout})

    class Now:
        def facts(self):
            return {**checkout, "diff_sha256": "2"}

    monkeypatch.setattr("primus.launch.again.find_checkouts", lambda environ: {"primus": Now()})
    assert differences(read_run(run_dir.path), HERE, {}) == [
        "git checkout of primus: the same revision with other changes"
    ]


def test_packages_outside_of_the_container_do_not_matter(run_dir):
    change(run_dir, packages={}, container={"image": "x", "runtime": "podman"})
    assert differences(read_run(run_dir.path), HERE, {}) == []


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda run: run.manifest.unlink(), "not complete: it has no manifest.json"),
        (lambda run: run.experiment.unlink(), "not complete: it has no experiment.yaml|neither"),
        (lambda run: run.manifest.write_text('{"format": 1, '), "manifest.json can't be read"),
        (lambda run: run.manifest.write_text("[]"), "no format, so that it is of an older Primus"),
        (lambda run: change(run, format=99), "has format 99; this Primus reads format 1"),
        (lambda run: run.manifest.write_text('{"format": 1}'), "its manifest lacks resources, backend"),
    ],
)
def test_a_directory_that_is_not_whole_is_refused(run_dir, spoil, text):
    spoil(run_dir)
    with pytest.raises(MissingError, match=text):
        read_run(run_dir.path)


def test_other_directories_are_refused_with_a_hint(run_dir, tmp_path):
    with pytest.raises(MissingError, match="there is no such directory"):
        read_run(Path("nowhere"))
    with pytest.raises(MissingError, match=r"not of one of its runs; the last one is .*/runs/1"):
        read_run(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="this is not the directory of a run"):
        read_run(tmp_path / "empty")

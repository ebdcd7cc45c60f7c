"""When the manifest of a launch is written."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from primus.job import Job, Resources
from primus.launch.manifest_writer import ManifestWriter
from primus.run import RunDirectory


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.create({}, node=0)
    return directory


def begin(run_dir: RunDirectory, **options) -> ManifestWriter:
    job = Job(name="toy", backend="toy", module="toy", args=(), resources=Resources(), run_dir=run_dir.path)
    return ManifestWriter(job, argv=["primus"], variables={}, started="2026-01-31T12:00:00Z", more={}, **options)


def test_it_is_there_after_the_end(run_dir):
    begin(run_dir).finish()
    assert json.loads(run_dir.manifest.read_text())["started"] == "2026-01-31T12:00:00Z"


def test_it_waits_for_its_time(run_dir):
    asked, come = threading.Semaphore(0), threading.Event()

    def may_begin() -> bool:
        asked.release()
        return come.is_set()

    writer = begin(run_dir, may_begin=may_begin)
    assert asked.acquire(timeout=60)
    assert asked.acquire(timeout=60)  # it was told no once, and asks again
    assert not run_dir.manifest.exists()
    come.set()
    writer.finish()
    assert run_dir.manifest.exists()


def test_a_time_that_never_comes_does_not_cost_the_manifest(run_dir):
    begin(run_dir, may_begin=lambda: False).finish()
    assert run_dir.manifest.exists()

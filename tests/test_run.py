"""The run directory and how its files are written."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import time
from pathlib import Path

import pytest

from primus.errors import MissingError
from primus.run import RunDirectory, Status, new_run_id, write_text


@pytest.fixture
def run_dir(tmp_path):
    return RunDirectory(tmp_path / "run")


def test_naming_a_run_directory_creates_nothing(tmp_path):
    run = RunDirectory.named(tmp_path / "output", "20260131T120000Z-abc123")
    assert run.path == tmp_path / "output" / "runs" / "20260131T120000Z-abc123"
    assert not (tmp_path / "output").exists()


def test_a_relative_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunDirectory.named(Path("output"), "id").path == tmp_path / "output/runs/id"


def test_run_ids_differ_and_begin_with_the_time():
    one, other = new_run_id(), new_run_id()
    assert one != other
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", one)


def test_run_ids_sort_by_time_within_a_second_too():
    ids = []
    for _ in range(20):
        ids.append(new_run_id())
        time.sleep(0.001)  # a run takes longer than the 1/4096 s that an id tells apart
    assert ids == sorted(ids)


def test_logs_are_kept_by_node_and_global_rank(run_dir):
    assert run_dir.log_path(1, 9) == run_dir.path / "logs/node1/rank9.log"


def test_creating_it_writes_the_files_of_the_job(run_dir):
    run_dir.create({"experiment.yaml": "a: 1\n", "parts/job.toml": "b = 2\n"}, node=2)
    assert run_dir.experiment.read_text() == "a: 1\n"
    assert (run_dir.path / "parts/job.toml").read_text() == "b = 2\n"
    assert (run_dir.logs / "node2").is_dir()


def test_the_status_reads_back(run_dir):
    run_dir.create({})
    status = Status(state="failed", exit_status=137, cause="died", failures=({"rank": 1},), host="h", pid=7)
    run_dir.write_status(status)
    assert run_dir.read_status() == status


def test_a_run_without_status_has_none(run_dir):
    assert run_dir.read_status() is None


def test_json_of_a_run_is_strict(run_dir):
    run_dir.create({})
    with pytest.raises(ValueError, match="not JSON compliant"):
        run_dir.write_json(run_dir.model, {"loss": float("nan")})
    assert not run_dir.model.exists()


def test_failures_are_read_in_the_order_of_time(run_dir):
    run_dir.create({})
    for rank, moment in ((0, 2.0), (1, 1.0)):
        run_dir.write_json(run_dir.failure_path(0, rank), {"rank": rank, "time": moment})
    assert [failure["rank"] for failure in run_dir.read_failures()] == [1, 0]


def _write_often(path: Path, letter: str) -> None:
    for _ in range(200):
        write_text(path, letter * 10_000)


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "file"
    write_text(path, "a" * 10_000)
    writers = [multiprocessing.get_context("spawn").Process(target=_write_often, args=(path, each)) for each in "ab"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(path.read_text())
    for writer in writers:
        writer.join()
    assert seen <= {"a" * 10_000, "b" * 10_000}
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_no_scrap(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \udcff")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_file_in_the_way_is_explained(tmp_path):
    (tmp_path / "output").write_text("")
    with pytest.raises(MissingError, match=r"can't make the run directory .*a part of this path is a file"):
        RunDirectory(tmp_path / "output" / "run").create({})


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "no permission"), (errno.EROFS, "read-only"), (errno.ENOSPC, "no space"), (errno.EDQUOT, "quota")],
)
def test_what_the_file_system_refuses_is_said_with_a_remedy(run_dir, monkeypatch, number, remedy):
    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(MissingError, match=rf"{remedy}.*`workspace`") as caught:
        run_dir.create({})
    assert caught.value.status == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_explained(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MissingError, match="no permission"):
        RunDirectory(tmp_path / "run").create({})


def test_other_errors_of_the_file_system_are_not_hidden(run_dir, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(OSError, match="Input/output error"):
        run_dir.create({})


def test_status_json_has_the_words_of_the_design(run_dir):
    run_dir.create({})
    run_dir.write_status(Status(state="running"))
    assert json.loads(run_dir.status.read_text())["state"] == "running"

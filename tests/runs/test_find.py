import os
from pathlib import Path

import pytest

from primus.errors import MissingError, UsageError
from primus.runs.find import find_run, find_runs


def test_runs_are_found_from_any_folder_above_and_sorted_by_time(workspace):
    second = workspace.run("20260102T000000Z-aa", experiment="b")
    first = workspace.run("20260101T000000Z-bb", experiment="a")

    for place in (workspace.path.parent, workspace.path, workspace.path / "amd"):
        assert find_runs([place]) == [first, second]
    assert find_runs([first.parent]) == find_runs([first]) == find_runs([first.parent.parent]) == [first]


def test_a_run_is_found_once_though_its_folder_is_named_twice(workspace):
    run = workspace.run("r1")

    assert find_runs([workspace.path, run]) == [run]


def test_folders_without_a_status_and_checkpoints_are_no_runs(workspace):
    run = workspace.run("r1")
    (run.parent / "stray").mkdir()
    (run.parent.parent / "checkpoints" / "runs" / "x").mkdir(parents=True)
    (run.parent.parent / "checkpoints" / "runs" / "x" / "status.json").touch()

    assert find_runs([workspace.path]) == [run]


def test_a_place_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(MissingError, match="no such folder"):
        find_runs([tmp_path / "nowhere"])


def test_one_run_is_found_by_path_by_id_and_by_the_beginning_of_its_id(workspace):
    run = workspace.run("20260101T000000Z-bb")
    workspace.run("20260102T000000Z-bb")

    for name in (str(run), run.name, "20260101"):
        assert find_run(name, [workspace.path]) == run


def test_the_folder_of_an_experiment_with_one_run_names_it(workspace):
    run = workspace.run("r1")

    assert find_run(str(run.parent.parent), []) == run


def test_a_name_of_several_runs_or_of_none_is_an_error(workspace):
    workspace.run("20260101T000000Z-aa")
    workspace.run("20260101T000000Z-bb")

    with pytest.raises(UsageError, match="may mean 2 runs"):
        find_run("2026", [workspace.path])
    with pytest.raises(MissingError, match="no run 2027"):
        find_run("2027", [workspace.path])
    with pytest.raises(UsageError, match="found 2 there"):
        find_run(str(workspace.path), [])


def test_a_folder_of_runs_is_known_from_inside_of_it(workspace, monkeypatch):
    run = workspace.run("r1")
    monkeypatch.chdir(run.parent)
    assert [path.name for path in find_runs([Path()])] == ["r1"]
    monkeypatch.chdir(run)
    assert find_run(".", [Path("output")]) == run
    assert [path.name for path in find_runs([Path("..")])] == ["r1"]


def test_an_empty_name_means_no_run(workspace):
    workspace.run("r1")
    with pytest.raises(UsageError, match="the name of a run is empty"):
        find_run("", [workspace.path])


def test_a_file_is_no_place_of_runs(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MissingError, match="there is no such folder"):
        find_runs([tmp_path / "file"])


def test_a_folder_that_only_others_may_read_does_not_hide_the_rest(workspace, monkeypatch):
    workspace.run("r1")
    closed, run = workspace.path / "amd" / "someone", workspace.run("r2")
    closed.mkdir()
    scandir, stat = os.scandir, os.stat

    def guarded(path):  # root may read anything
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def shut(path, **options):
        if str(path) == f"{run}/status.json":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "scandir", guarded)
    monkeypatch.setattr(os, "stat", shut)
    notes: list[str] = []
    assert [path.name for path in find_runs([workspace.path, workspace.path / "amd"], notes=notes)] == ["r1"]
    assert notes == [f"{folder}: can't look into this folder: Permission denied" for folder in (run, closed)]


def test_a_place_that_may_not_be_read_is_no_empty_one(workspace, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MissingError, match="no permission to look into this folder"):
        find_runs([workspace.path])

"""Files that a user names for what a command found out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from primus.errors import MissingError, UsageError
from primus.output import check_output, write_output


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "page.html"
    write_output(path, "one")
    write_output(path, "two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to("file")
    write_output(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


def test_a_minus_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for write in (check_output, lambda path: write_output(path, "text")):
        with pytest.raises(UsageError, match="stands for the standard output"):
            write(Path("-"))
    assert not list(tmp_path.iterdir())


def test_a_device_is_written_into_and_stays_one(tmp_path):
    write_output(Path("/dev/null"), "text")
    with pytest.raises(MissingError, match="can't write /dev/full: No space left on device"):
        write_output(Path("/dev/full"), "text")
    assert all(stat.S_ISCHR(os.stat(device).st_mode) for device in ("/dev/null", "/dev/full"))


@pytest.mark.parametrize("name", [".", "", "/", "folder"])
def test_a_folder_is_wrong_usage(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(UsageError, match="is a folder; name a file"):
        check_output(Path(name))


def test_a_folder_that_is_not_there_is_told_before_the_work(tmp_path):
    with pytest.raises(MissingError, match="there is no folder"):
        check_output(tmp_path / "not" / "page.html")


def test_a_folder_that_may_not_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    with pytest.raises(MissingError, match="read-only, or not yours to write; name another file"):
        check_output(tmp_path / "page.html")

"""What a checkout is said to hold."""

from __future__ import annotations

import subprocess

import pytest

from primus import revision
from primus.redact import HIDDEN
from primus.revision import revision_of


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "file").write_text("one\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    return tmp_path


def test_a_clean_checkout_has_a_revision_and_nothing_else(checkout):
    git(checkout, "remote", "add", "origin", "https://me:secret@example.org/x.git")
    facts = revision_of(checkout).facts()
    assert len(facts["revision"]) == 40
    assert (facts["dirty"], facts["diff_sha256"], facts["untracked"]) == (False, None, [])
    assert facts["remote"] == f"https://{HIDDEN}@example.org/x.git"


def test_the_diff_of_a_changed_checkout_brings_the_change_back(checkout):
    (checkout / "file").write_text("two\n")
    (checkout / "binary").write_bytes(bytes(range(256)))
    git(checkout, "add", "binary")
    found = revision_of(checkout / ".")
    assert found.facts()["dirty"]
    (checkout / "change.diff").write_text(found.readable_diff())
    git(checkout, "reset", "--hard")
    git(checkout, "apply", "change.diff")
    assert (checkout / "file").read_text() == "two\n"
    assert (checkout / "binary").read_bytes() == bytes(range(256))


def test_another_change_has_another_hash(checkout):
    hashes = set()
    for text in ("two", "three"):
        (checkout / "file").write_text(text)
        hashes.add(revision_of(checkout).facts()["diff_sha256"])
    assert len(hashes) == 2


def test_secrets_in_the_change_are_left_out(checkout):
    (checkout / "file").write_text("api_key = 'abcdef0123456789'\n")
    assert f"+api_key = {HIDDEN}" in revision_of(checkout).readable_diff()


def test_a_change_that_is_too_long_is_cut(checkout, monkeypatch):
    monkeypatch.setattr(revision, "LARGEST_DIFF", 100)
    (checkout / "file").write_text("x" * 1000)
    assert revision_of(checkout).readable_diff().endswith("more bytes are left out]\n")


def test_files_that_git_does_not_know_are_named(checkout):
    (checkout / ".gitignore").write_text("*.bin\n")
    (checkout / "data.bin").touch()
    (checkout / "new.py").touch()
    facts = revision_of(checkout).facts()
    assert facts["untracked"] == [".gitignore", "new.py"]
    assert facts["untracked_count"] == 2


def test_outside_of_a_checkout_there_is_none(tmp_path):
    assert revision_of(tmp_path) is None


def test_a_machine_without_git_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision_of(tmp_path) is None

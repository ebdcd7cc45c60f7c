"""Two runs of one experiment do not write the same checkpoints."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from primus.errors import MissingError, UsageError
from primus.launch.sole import lock_path, sole_run

HOLD = """
import sys, time
from pathlib import Path
from primus.launch.sole import sole_run
with sole_run(Path(sys.argv[1]), "first"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_of_an_experiment_is_refused_and_told_of_the_first(tmp_path, other):
    with pytest.raises(UsageError, match=r"is going on: .*/runs/first.*exp_name=NAME"), sole_run(tmp_path, "second"):
        pass
    assert lock_path(tmp_path).read_text() == "first\n"


def test_a_run_that_was_killed_holds_nothing(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with sole_run(tmp_path, "second"):
        assert lock_path(tmp_path).read_text() == "second\n"


def test_runs_one_after_the_other_are_fine(tmp_path):
    for run in ("first", "second"):
        with sole_run(tmp_path / "new", run):
            assert lock_path(tmp_path / "new").read_text() == f"{run}\n"


def test_a_file_system_without_locks_is_no_reason_not_to_train(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with sole_run(tmp_path, "first"):
        assert lock_path(tmp_path).exists()


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "truncate", lambda file, length: None)  # which that device refuses
    lock_path(tmp_path).symlink_to("/dev/full")
    with pytest.raises(MissingError, match=r"can't write .*run\.lock: no space left"), sole_run(tmp_path, "first"):
        pass

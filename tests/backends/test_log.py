"""The log file of a worker: its size, and a disk that has no room for it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from primus.backends.log import DEFAULT_LIMIT, Output, size_limit
from primus.errors import UsageError

WORKERS = Path(__file__).parents[1] / "launch" / "workers"


def start(run_dir, toy, **variables):
    environment = os.environ | {"PYTHONPATH": str(WORKERS), "TOY": toy} | variables
    return subprocess.Popen([sys.executable, "-m", "toy", str(run_dir)], env=environment)


def test_a_log_is_rotated_by_size_and_every_line_is_in_one_of_the_files(tmp_path):
    log = tmp_path / "logs/node0/rank0.log"
    worker = start(tmp_path, "talk", PRIMUS_LOG_MAX_BYTES="20K")
    while not log.with_name("rank0.log.1").exists():
        assert worker.poll() is None
        time.sleep(0.01)
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    text = log.with_name("rank0.log.1").read_text() + log.read_text()
    numbers = [int(number) for number in re.findall(r"^number (\d+) \.{100}$", text, re.MULTILINE)]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert f"printed {numbers[-1]}" in text
    assert sorted(path.name for path in log.parent.iterdir()) == ["rank0.log", "rank0.log.1"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("", DEFAULT_LIMIT), ("0", 0), ("123", 123), ("2k", 2048), ("3M", 3 << 20), ("1GiB", 1 << 30), ("1 T", None)],
)
def test_a_size_is_a_number_with_a_unit(text, size):
    environ = {"PRIMUS_LOG_MAX_BYTES": text}
    if size is None:
        with pytest.raises(UsageError, match="expected a size in bytes"):
            size_limit(environ)
    else:
        assert size_limit(environ) == size


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_training_goes_on_while_the_disk_is_full_and_the_log_says_what_it_misses(small_disk):
    assert start(small_disk, "fill_the_disk").wait() == 0
    log = (small_disk / "logs/node0/rank0.log").read_text()
    assert re.search(r"^\[[\d,]+ bytes are missing here: No space left on device\]$", log, re.MULTILINE)
    assert "there is room again\n" in log
    steps = [json.loads(line)["step"] for line in (small_disk / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == 200
    assert len(steps) < 200


def test_a_failure_keeps_its_exit_status_on_a_full_disk(small_disk):
    assert start(small_disk, "refuse_on_a_full_disk").wait() == 4
    assert not list(small_disk.glob("failures/*"))


def test_what_the_disk_refuses_is_counted_until_there_is_room(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        output = Output(file.fileno(), "file")
        full = os.open("/dev/full", os.O_WRONLY)
        saved = os.dup(file.fileno())
        os.dup2(full, file.fileno())
        assert output.write(b"lost") == 4
        assert output.write(b"lost too") == 8
        os.dup2(saved, file.fileno())
        assert output.write(b"kept\n") == 5
        os.close(full)
        os.close(saved)
    assert (tmp_path / "file").read_text() == "\n[12 bytes are missing here: No space left on device]\nkept\n"

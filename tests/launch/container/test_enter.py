"""The first process in a container, run here without one."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from primus.launch.container import enter

SCRIPT = Path(enter.__file__)


@pytest.fixture
def start(tmp_path):
    """Starts it with a Python program as the training."""
    started = []

    def begin(program: str, packages: str = "json") -> subprocess.Popen[str]:
        argv = [sys.executable, str(SCRIPT), str(tmp_path / "notes.json"), packages, "-c", program]
        process = subprocess.Popen(argv, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_an_old_python_can_read_it_and_say_that_it_is_too_old():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))


def test_the_status_of_training_is_its_own(start):
    assert start("import sys; sys.exit(9)").wait() == 9
    assert start("import os; os.kill(os.getpid(), 11)").wait() == 128 + signal.SIGSEGV


def test_it_notes_what_is_in_the_image(start, tmp_path):
    assert start("pass").wait() == 0
    notes = json.loads((tmp_path / "notes.json").read_text())
    assert notes["executable"] == sys.executable
    assert "pytest" in notes["packages"]


def test_a_package_that_is_not_there_ends_it_before_training(start, tmp_path):
    assert start("open('trained', 'w')", packages="json,no_such.package").wait() == 4
    assert not (tmp_path / "trained").exists()


WAITS = """\
import signal, sys
signal.signal({number}, lambda number, frame: sys.exit(number))
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("told", "received"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGUSR1, signal.SIGUSR1), (signal.SIGUSR2, signal.SIGUSR2)],
)
def test_a_byte_is_a_signal_for_training(start, told, received):
    process = start(WAITS.format(number=int(received)))
    assert process.stdout.readline() == "ready\n"
    os.write(process.stdin.fileno(), bytes([told]))
    assert process.wait() == received


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_from_outside_asks_training_to_stop(start, number):
    process = start(WAITS.format(number=int(signal.SIGTERM)))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait() == signal.SIGTERM


def test_the_end_of_its_input_kills_training(start, gone):
    process = start("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    pid = int(process.stdout.readline())
    process.stdin.close()
    assert process.wait() == 128 + signal.SIGKILL
    gone(pid)


def test_training_finds_primus_first_and_reads_nothing(start):
    process = start("import os, sys; print(os.environ['PYTHONPATH'].split(':')[0], sys.stdin.read() == '')")
    assert process.stdout.readline().split() == [str(SCRIPT.parents[3]), "True"]


def test_variables_of_the_image_that_the_job_does_without_are_taken_away(start, monkeypatch):
    monkeypatch.setenv("HIPBLASLT_LOG_LEVEL", "1")
    monkeypatch.setenv("PRIMUS_UNSET", "HIPBLASLT_LOG_LEVEL,NOT_SET")
    process = start("import os; print(sorted({'HIPBLASLT_LOG_LEVEL', 'PRIMUS_UNSET'} & os.environ.keys()))")
    assert process.stdout.read().strip() == "[]"

"""How far a worker has come, as others read it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from primus.backends import heartbeat
from primus.backends.heartbeat import Pulse, read_heartbeat, write_interval


@pytest.fixture
def path(tmp_path):
    return tmp_path / "node0-rank3"


@pytest.fixture
def pulse(path, monkeypatch):
    """A heartbeat that is written every 10 ms."""
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    pulse = Pulse(path, rank=3)
    pulse.start()
    yield pulse
    pulse.stop()


@pytest.fixture
def seen(until):
    """Waits until the file says this."""

    def wait(path, **facts):
        until(lambda: (beat := read_heartbeat(path)) and all(getattr(beat, n) == v for n, v in facts.items()))
        return read_heartbeat(path)

    return wait


def test_a_process_is_there_before_its_first_step(pulse, path, seen):
    beat = seen(path, phase="starting")
    assert (beat.rank, beat.pid, beat.step, beat.step_seconds) == (3, os.getpid(), None, None)


def test_two_steps_are_start_up_since_they_compile(pulse, path, seen):
    pulse.begin(7)
    seen(path, step=7, phase="starting")
    pulse.step_done(8)
    seen(path, step=8, phase="starting")
    pulse.step_done(9)
    assert seen(path, step=9, phase="training").time == pytest.approx(time.time(), abs=60)


def test_what_is_done_between_steps_has_a_name_and_leaves_the_step(pulse, path, seen):
    pulse.begin(0)
    for step in (1, 2):
        pulse.step_done(step)
    with pulse.doing("saving"):
        seen(path, step=2, phase="saving")
    seen(path, step=2, phase="training")
    pulse.end()
    seen(path, step=2, phase="ending")


def test_the_time_of_a_step_is_the_median_without_the_first(pulse, path, seen, monkeypatch):
    times = iter([0.0, 100.0, 101.0, 103.0, 104.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    pulse.begin(0)
    for step in (1, 2, 3, 4):
        pulse.step_done(step)
    monkeypatch.undo()
    assert seen(path, step=4).step_seconds == 1.0


def test_the_end_is_written_too(path):
    pulse = Pulse(path, rank=0)
    pulse.start()
    pulse.end()
    pulse.stop()
    assert read_heartbeat(path).phase == "ending"


def test_a_disk_that_takes_nothing_does_not_hold_training_up(tmp_path, seen, monkeypatch):
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    path = tmp_path / "not there yet" / "node0-rank0"
    pulse = Pulse(path, rank=0)
    pulse.start()
    for step in range(1, 1000):
        pulse.step_done(step)
    path.parent.mkdir()
    assert seen(path, step=999)
    pulse.stop()


@pytest.mark.parametrize("text", ["", "{", '{"rank": 1}', "[]", '{"rank": 1, "pid": 2, "mood": "good"}'])
def test_half_a_heartbeat_is_none(path, text):
    path.write_text(text)
    assert read_heartbeat(path) is None


def test_many_ranks_write_less_often():
    assert [write_interval(ranks) for ranks in (1, 256, 1024, 32768)] == [1.0, 1.0, 4.0, 128.0]


HANGING = """
import sys, time
from pathlib import Path
from primus.backends.heartbeat import answer_with_stacks
def wait_for_godot():
    Path(sys.argv[1] + ".ready").touch()
    time.sleep(600)
answer_with_stacks(Path(sys.argv[1]))
wait_for_godot()
"""


def test_a_process_tells_where_it_hangs_when_it_is_asked(tmp_path, until):
    path = tmp_path / "stacks"
    process = subprocess.Popen([sys.executable, "-c", HANGING, str(path)])
    until((tmp_path / "stacks.ready").exists)
    process.send_signal(signal.SIGUSR2)
    until(lambda: "in <module>" in path.read_text())
    assert "in wait_for_godot" in path.read_text()
    assert process.poll() is None
    process.kill()
    process.wait()

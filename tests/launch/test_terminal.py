"""What the terminal shows: on a real pseudo-terminal, and in a pipe."""

from __future__ import annotations

import os
import pty
import re
import threading
from dataclasses import replace

import pytest

from primus.job import Job, Resources
from primus.launch.terminal import LiveLine, Screen, format_count, format_duration
from primus.run import RunDirectory


class Terminal:
    """A pseudo-terminal that remembers what was written to it."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.stream = os.fdopen(slave, "w")
        self.text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        data = b""
        while True:
            try:
                data += os.read(self._master, 65536)
            except OSError:  # the other end is closed
                break
        self.text = data.decode()

    def close(self) -> str:
        self.stream.close()
        self._reader.join()
        os.close(self._master)
        return self.text


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


@pytest.fixture
def job(tmp_path):
    run_dir = RunDirectory(tmp_path / "run")
    run_dir.create({})
    return Job(
        name="toy",
        backend="toy",
        module="toy",
        total_steps=200,
        resources=Resources(nproc_per_node=2),
        run_dir=run_dir.path,
    )


def write(job, text, rank=0):
    with RunDirectory(job.run_dir).log_path(0, rank).open("a") as log:
        log.write(text)


METRICS = (
    '{"step": 100, "loss": 3.5, "lr": 0.001, "tokens_per_second": 12000.0, "step_time": 0.5, "time": 1000.0}\n'
    '{"step": 120, "loss": 3.4512, "lr": 0.001, "tokens_per_second": 12345.6, "step_time": 0.41, "time": 1010.0}\n'
)


def record(job, text=METRICS):
    with RunDirectory(job.run_dir).metrics.open("a") as metrics:
        metrics.write(text)


def visible(text):
    """The screen after the escape sequences for clearing and for bold have done their work."""
    lines = re.sub(r"\x1b\[[01]m", "", text).replace("\r\n", "\n").split("\n")
    return [line.rpartition("\r\x1b[K")[2] for line in lines]


def test_a_terminal_shows_a_live_line_below_the_log(job, terminal):
    screen = Screen(job, 0, stream=terminal.stream, environ={"TERM": "xterm"})
    write(job, "hello\n")
    record(job)
    screen.update()
    shown = visible(terminal.close())
    assert shown[0] == "hello"
    assert shown[-1] == "step 120/200  loss 3.4512  lr 1.0e-03  tokens/s 12.3k  step 0.41 s  ETA 0:40"


def test_the_live_line_is_gone_at_the_end_and_the_log_is_complete(job, terminal):
    screen = Screen(job, 0, stream=terminal.stream, environ={"TERM": "xterm"})
    record(job)
    screen.update()
    write(job, "last words without newline")
    screen.close()
    screen.note("done")
    assert visible(terminal.close()) == ["last words without newline", "done", ""]


def test_the_live_line_fits_the_terminal(job, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    line = LiveLine(job, styled=False)
    line.add({"step": 1, "loss": 3.0, "lr": 0.1, "tokens_per_second": 1.0, "step_time": 1.0, "time": 1.0})
    assert line.text(29) == "step 1/200  loss 3.0000  lr 1"


def test_before_the_first_step_the_live_line_says_so(job):
    assert LiveLine(job, styled=False).text(80) == "toy: starting"


def test_a_loss_that_is_no_number_is_shown(job):
    line = LiveLine(job, styled=False)
    line.add({"step": 1, "loss": "NaN", "time": 1.0})
    assert line.text(80) == "step 1/200  loss nan"


@pytest.mark.parametrize(("environ", "bold"), [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)])
def test_no_color_is_honoured(job, terminal, environ, bold):
    screen = Screen(job, 0, stream=terminal.stream, environ=environ)
    record(job)
    screen.update()
    assert ("\x1b[1m" in terminal.close()) is bold


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {}])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(job, terminal, environ):
    screen = Screen(job, 0, stream=terminal.stream, environ=environ)
    write(job, "hello\n")
    record(job)
    screen.update()
    screen.close()
    assert "\x1b" not in terminal.close()


def piped(job, tmp_path):
    """What a Screen writes to something that is not a terminal."""
    path = tmp_path / "out"
    with path.open("w") as stream:
        screen = Screen(job, 0, stream=stream, environ={"TERM": "xterm"})
        screen.update()
        screen.close()
    return path.read_text()


def test_a_pipe_gets_the_log_as_it_is(job, tmp_path):
    write(job, "hello\nstep 1/200  loss 3.0\n")
    record(job)
    assert piped(job, tmp_path) == "hello\nstep 1/200  loss 3.0\n"


def test_only_the_console_ranks_are_shown(job, tmp_path):
    write(job, "from rank 0\n", rank=0)
    write(job, "from rank 1\n", rank=1)
    assert piped(job, tmp_path) == "from rank 0\n"


def test_several_console_ranks_are_told_apart(job, tmp_path):
    write(job, "a\n", rank=0)
    write(job, "b\nc\n", rank=1)
    both = replace(job, console_ranks=(0, 1))
    assert piped(both, tmp_path) == "[rank 0] a\n[rank 1] b\n[rank 1] c\n"


def test_a_rank_of_another_node_is_not_looked_for_here(job):
    screen = Screen(job, 1, environ={})
    assert screen.ranks == ()


def test_a_terminal_that_is_far_behind_skips_to_the_newest_lines(job, terminal):
    screen = Screen(job, 0, stream=terminal.stream, environ={"TERM": "xterm"})
    write(job, "first\n")
    screen.update()
    write(job, f"{'x' * 99}\n" * 200_000 + "last\n")
    screen.update()
    screen.close()
    text = terminal.close()
    assert re.search(r"\[rank 0: 11,\d{3},\d{3} bytes skipped; all is in .*rank0\.log\]", text)
    assert visible(text)[-2] == "last"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (950, "950"), (12345.6, "12.3k"), (4.56e6, "4.56M")])
def test_counts_are_short(value, text):
    assert format_count(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (33.4, "0:33"), (59.7, "1:00"), (3723, "1:02:03")])
def test_durations_read_like_a_clock(seconds, text):
    assert format_duration(seconds) == text


def test_the_live_line_is_about_this_attempt(job):
    line = LiveLine(replace(job, attempt=2), styled=False)
    line.add({"step": 7, "loss": 1.0, "time": 0.0})
    assert line.text(80) == "toy: starting"
    line.add({"step": 5, "loss": 1.0, "time": 9.0, "attempt": 2})
    assert line.text(80).startswith("step 5/200")


def test_a_pipe_whose_owner_does_not_wait_gets_all_of_the_log(job):
    write(job, "a line of the log\n" * 20_000)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    found = []

    def read():
        with os.fdopen(read_end, "rb") as stream:
            found.append(stream.read())

    with os.fdopen(write_end, "w") as stream:
        screen = Screen(job, 0, stream=stream, environ={})
        reader = threading.Timer(0.5, read)
        reader.start()
        screen.close()
    reader.join()
    assert found == [b"a line of the log\n" * 20_000]

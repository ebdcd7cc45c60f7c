"""The output of several ranks on the terminal, and logs that grow and are rotated while they are shown."""

from __future__ import annotations

import re
import signal

import pytest

pytestmark = pytest.mark.real

TWO = {"nproc_per_node": 2}


def test_ranks_that_say_the_same_are_shown_together(launch):
    status, out, _ = launch("speak_alike", resources=TWO, console_ranks=(0, 1)).finish()
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith("[rank")]
    said = [line.partition("] ")[0] for line in lines if line.endswith("the same on every rank")]
    assert "[ranks 0-1" in said
    assert said.count("[rank 0") == said.count("[rank 1") == 20 - said.count("[ranks 0-1")
    assert {"[rank 0] hello from rank 0", "[rank 1] hello from rank 1"} <= set(lines)


def test_tracebacks_of_several_ranks_are_not_mixed(launch):
    _, out, _ = launch("fail_alike", resources=TWO, console_ranks=(0, 1)).finish()
    marks = [line.partition("]")[0] for line in out.splitlines() if line.startswith("[rank")]
    begin = next(place for place, line in enumerate(out.splitlines()) if "Traceback" in line)
    first = [line for line in out.splitlines()[begin:] if line.startswith(out.splitlines()[begin].partition("]")[0])]
    assert marks
    assert "ValueError: not on rank" in "\n".join(first)


def test_secrets_that_training_prints_are_hidden_on_the_terminal(launch):
    run = launch("tell_secrets", environ={"MY_TOKEN": "plain0value"})
    _, out, _ = run.finish()
    assert "logging in with [redacted] and [redacted]" in out
    assert "hf_" in run.log()  # its own file is the training's


def test_a_log_that_is_rotated_is_shown_to_the_last_line(launch):
    run = launch("talk", environ={"PRIMUS_LOG_MAX_BYTES": "50K"})
    run.wait_for("logs/node0/rank0.log.1")
    run.process.send_signal(signal.SIGTERM)
    _, out, _ = run.finish()
    numbers = [int(number) for number in re.findall(r"^number (\d+) \.{100}$", out, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert f"printed {numbers[-1]}" in out

"""Stacks as py-spy and faulthandler print them, made alike."""

from __future__ import annotations

import pytest

from primus.launch.stacks import fold, readable

FAULTHANDLER = """\
Thread 0x00007f6cce4a56c0 (most recent call first):
  File "/x/primus/backends/heartbeat.py", line 4 in _write_often
  File "/x/threading.py", line 982 in run

Thread 0x00007f6cce4a56c1 (most recent call first):
  File "/x/loader.py", line 4 in wait

Current thread 0x00007f6cceff1b80 (most recent call first):
  File "/x/loop.py", line 6 in step
  File "/x/loop.py", line 7 in <module>
"""

PY_SPY = """\
Process 8198: /work/venv/bin/python -m toy
Python v3.11.7 (/usr/bin/python3.11)

Thread 8198 (idle): "MainThread"
    step (/x/loop.py:6)
    <module> (/x/loop.py:7)
Thread 8200 (idle): "heartbeat"
    _write_often (/x/primus/backends/heartbeat.py:4)
Thread 8201 (idle): "Thread-1"
    wait (/x/loader.py:4)
Thread 8202 (idle): "Thread-2"
    wait (/x/loader.py:4)
"""


def test_the_main_thread_stands_first_and_those_of_primus_are_left_out():
    assert readable(FAULTHANDLER).splitlines() == [
        'File "/x/loop.py", line 6 in step',
        'File "/x/loop.py", line 7 in <module>',
        "1 more thread:",
        'File "/x/loader.py", line 4 in wait',
    ]


def test_equal_threads_are_counted():
    assert readable(PY_SPY).splitlines() == [
        "step (/x/loop.py:6)",
        "<module> (/x/loop.py:7)",
        "2 more threads:",
        "wait (/x/loader.py:4)",
    ]


def test_a_deep_stack_is_cut():
    dump = "Current thread 0x1 (most recent call first):\n" + "".join(f"  frame {n}\n" for n in range(40))
    lines = readable(dump).splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("frame 0", "… 28 more", 13)


@pytest.mark.parametrize("dump", ["", "Process 1: python\n"])
def test_no_answer_is_no_stack(dump):
    assert readable(dump) == ""


def test_the_rarest_stack_comes_first():
    assert fold({0: "a", 1: "b", 2: "a", 3: ""}) == [([1], "b"), ([0, 2], "a")]

"""What a worker starts: real processes that get the signals that SLURM sends to all of a job."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import multiprocessing, os, signal, sys

import psutil
from primus.backends.children import look_after_children

if __name__ == "__main__":
    stops = []
    signal.signal(signal.SIGUSR1, lambda number, frame: stops.append(number))
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    look_after_children()
    queue = multiprocessing.get_context("spawn").Manager().Queue()
    queue.put("before")
    number = int(sys.argv[1])
    children = psutil.Process().children(recursive=True)
    assert children
    for process in [*children, psutil.Process()]:
        process.send_signal(number)
    queue.put("after")
    print(queue.get(), queue.get(), stops == [number])
"""


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_to_every_process_ends_no_manager(number: signal.Signals, tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), str(int(number))], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "before after True\n"), done.stderr

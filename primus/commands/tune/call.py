"""Runs another command of `primus`, as the stages need it. run.py and kubernetes.py call it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from primus.errors import as_in_shell
from primus.lifeline import end_with_parent


def call(argv: Sequence[str], variables: Mapping[str, str]) -> int:
    """A command of ours to its end; its status as a shell has it. Signals that end us reach it first."""
    command = command_of(argv)
    with subprocess.Popen(command, env={**os.environ, **variables}, preexec_fn=end_with_parent) as child:  # noqa: PLW1509

        def pass_on(number: int, frame: FrameType | None) -> None:
            child.send_signal(number)

        handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGUSR1)}
        handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the child, too
        try:
            status = child.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return as_in_shell(status)


def command_of(argv: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "primus", *argv]

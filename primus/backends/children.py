"""What a worker's own processes get from it: they go with it, and no request to stop reaches them. worker.py calls
it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from multiprocessing import util
from typing import Any

from primus.lifeline import end_with_parent

STOPS = (signal.SIGTERM, signal.SIGUSR1)
"""What asks a worker to save and stop."""


def look_after_children() -> None:
    """Call it once, before anything is started.

    SLURM sends a signal to every process of a job. multiprocessing's manager, through which megatron.core saves, would
    die of it in the middle of the save that it asks for: what is started anew has these signals blocked from the
    beginning. What is forked has the worker's handlers, and lives on.
    """
    os.register_at_fork(after_in_child=end_with_parent)  # the kernel's promise is not inherited
    start_anew = util.spawnv_passfds

    def start_blocked(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            return start_anew(path, args, passfds)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    util.spawnv_passfds = start_blocked

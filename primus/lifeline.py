"""Ties a process to its parent: no training goes on without its launcher. Workers, their agent and
whatever else starts processes of its own call it."""

from __future__ import annotations

import ctypes
import os
import signal

PARENT_VARIABLE = "PRIMUS_PARENT_PID"
"""Set by a launcher to its own process id, so that what it starts can tell that it has died already."""

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl  # looked up now: a process that was just forked must not load libraries


def end_with_parent() -> None:
    """The same request alone, for what a worker starts: multiprocessing's managers outlive a kill -9 otherwise."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent goes, however that dies."""
    end_with_parent()
    parent = os.environ.get(PARENT_VARIABLE)
    if parent and os.getppid() != int(parent):  # it went before the request
        os.kill(os.getpid(), signal.SIGKILL)

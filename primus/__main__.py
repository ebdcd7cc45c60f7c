"""`python -m primus`, and the console script. Ctrl-C while modules load ends the process by its signal, as it does any
other program: a shell sees status 130, and nobody a traceback. Where whoever starts us ignores the ends of children, we
don't: sbatch, podman and workers that fail would all seem to have ended well."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

from typing import NoReturn


def run() -> NoReturn:
    """The command line; from here on Ctrl-C is an exception that commands can meet."""
    from primus.cli import run as run_command

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run_command()


if __name__ == "__main__":
    run()

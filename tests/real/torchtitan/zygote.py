"""A process that has imported torchtitan under the CPU adapter, and forks a child for each line that it reads: that
saves each test the seconds of the imports. A child is the worker that `primus train` starts, or runs some code."""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import Any


def main() -> None:
    from primus.backends.torchtitan import cpu

    sys.stdout = sys.stderr
    cpu.install()
    from primus.backends.torchtitan import data, trainer  # noqa: F401

    for line in sys.stdin:
        os.write(1, f"{_answer(json.loads(line))}\n".encode())


def _answer(request: dict[str, Any]) -> int:
    """The pid of a new child, or the exit status of one that was asked for."""
    if "wait" in request:
        return os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
    pid = os.fork()
    if pid:
        return pid
    # The child leaves by an exception, so that its interpreter ends what it has started.
    _be_worker(**request) if "run_dir" in request else _run_script(**request)
    sys.exit()


def _be_worker(run_dir: str, resume: str, environ: dict[str, str]) -> None:
    """As `python -m primus.backends.torchtitan.worker` does."""
    os.environ.update(environ)
    sys.argv = ["worker", run_dir, "--resume", resume]
    sys.stdout = sys.__stdout__  # type: ignore[assignment]
    if "PYTHONPATH" in environ:
        sys.path.insert(0, environ["PYTHONPATH"])
    from primus.backends.torchtitan import worker
    from primus.backends.worker import run

    run(worker.train)


def _run_script(script: str, argument: str, output: str) -> None:
    """Run a file with one argument; what it prints goes to another file."""
    sys.argv = [script, argument]
    sys.stdout = open(output, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()

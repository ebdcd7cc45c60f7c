"""A process that has imported torchtitan under the CPU adapter, and forks a worker for each line that it reads: that
saves each test the seconds of the imports. The worker itself is the one that `primus train` starts."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    from primus.backends.torchtitan import cpu

    sys.stdout = sys.stderr
    cpu.install()
    from primus.backends.torchtitan import data, trainer  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        answer = _wait(request["wait"]) if "wait" in request else _fork(**request)
        os.write(1, f"{answer}\n".encode())


def _fork(run_dir: str, resume: str, environ: dict[str, str]) -> int:
    pid = os.fork()
    if pid == 0:
        _be_worker(run_dir, resume, environ)
    return pid


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _be_worker(run_dir: str, resume: str, environ: dict[str, str]) -> Any:
    """As `python -m primus.backends.torchtitan.worker` does."""
    os.environ.update(environ)
    sys.argv = ["worker", run_dir, "--resume", resume]
    sys.stdout = sys.__stdout__
    if "PYTHONPATH" in environ:
        sys.path.insert(0, environ["PYTHONPATH"])
    from primus.backends.torchtitan import worker
    from primus.backends.worker import run

    try:
        run(worker.train)
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))


if __name__ == "__main__":
    main()

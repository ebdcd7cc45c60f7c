"""What the test processes run: a worker as `python -m primus.backends.megatron.worker` is, in a process forked from one
that has imported torch and megatron.core already, which saves seconds each time."""

from __future__ import annotations

import os
import sys

PRELOAD = ["primus.backends.megatron.loop", "primus.backends.megatron.local_layers", "torch._dynamo"]


def work(run_dir: str, resume: str, environ: dict[str, str], leave_out: str = "") -> None:
    """Be one worker; `leave_out` names a patch that is not applied."""
    os.environ.update(environ)
    sys.argv = ["worker", run_dir, "--resume", resume]
    from primus.backends.megatron import cpu, local_layers, torch_adamw, worker
    from primus.backends.worker import run

    for table in (cpu.patch, local_layers.patch, torch_adamw.patch):
        table.leave_out(leave_out)
    run(worker.train)

"""The training of the toy backend: each rank writes down where it runs; rank 0 reports steps, and saves when asked to
stop. A checkpoint is a file with the number of a step. After the step `hold` it waits for the test."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import primus
from primus.backends.worker import Worker, run


def train(worker: Worker) -> None:
    values = {
        "steps": 3,
        "step_seconds": 0.0,
        "save_seconds": 0.0,
        "hold": None,
        "fail_rank": None,
        "fail_status": 7,
    } | worker.experiment.plain()
    seen = {
        "rank": worker.rank,
        "world_size": worker.world_size,
        "node": worker.node_rank,
        "host": socket.gethostname(),
        "directory": os.getcwd(),
        "primus": primus.__file__,
        "argv": sys.argv,
        "values": values,
        "environment": dict(os.environ),
        "cpus": len(os.sched_getaffinity(0)),
    }
    write(worker.run_dir.path / f"seen-rank{worker.rank}.json", json.dumps(seen))
    checkpoint = worker.experiment.folder / "checkpoints" / "step"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    go_on = worker.experiment.folder / "go-on"
    worker.begin(first)
    for step in range(first + 1, values["steps"] + 1):
        if worker.stop_signal is not None:
            time.sleep(values["save_seconds"])
            break
        time.sleep(values["step_seconds"])
        if values["fail_rank"] == worker.rank:
            os._exit(values["fail_status"])
        worker.step_done(step)
        if worker.rank == 0:
            worker.record(step=step, loss=4.0 / step)
            write(checkpoint, str(step))
        while step == values["hold"] and worker.stop_signal is None and not go_on.exists():
            time.sleep(0.01)


def write(path: Path, text: str) -> None:
    """All at once: a test waits for the file, and reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


if __name__ == "__main__":
    run(train)

"""The worker's side of the example. What is heavy may be imported here."""

from __future__ import annotations

import json
import random
from pathlib import Path

from primus.backends.worker import Worker, run
from straight_line import DEFAULTS


def train(worker: Worker) -> None:
    """Fit y = slope * x by gradient descent; a checkpoint holds the step and the slope found so far."""
    values = {**DEFAULTS, **worker.experiment.plain()}
    checkpoint = worker.experiment.folder / "checkpoints/line.json"
    first, found = 0, 0.0
    if worker.resume == "never" and checkpoint.exists():  # nothing is lost
        checkpoint.parent.rename(worker.experiment.folder / f"checkpoints-before-{worker.run_dir.id}")
    if checkpoint.exists():
        first, found = json.loads(checkpoint.read_text())
    worker.describe_model(parameters=1)
    worker.begin(first)
    numbers = random.Random(first)
    for step in range(first + 1, values["steps"] + 1):
        x = numbers.uniform(-1, 1)
        error = (found - values["slope"]) * x
        found -= values["lr"] * 2 * error * x
        worker.step_done(step)
        worker.record(step=step, loss=error**2, lr=values["lr"])
        asked = worker.stop_signal is not None
        if values["save_interval"] and (asked or step % values["save_interval"] == 0 or step == values["steps"]):
            save(checkpoint, step, found)
        if asked:
            break


def save(path: Path, step: int, found: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([step, found]))
    partial.replace(path)


if __name__ == "__main__":
    run(train)

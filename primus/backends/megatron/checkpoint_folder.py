"""Names in the folder of an experiment's checkpoints, which are Megatron-LM's own: `iter_0000010`, and a file that
says which one is complete. The plan looks for the newest, checkpoint.py in the worker reads and writes them."""

from __future__ import annotations

from pathlib import Path

from primus.experiment import Experiment

TRACKER = "latest_checkpointed_iteration.txt"


def of(experiment: Experiment) -> Path:
    """The folder that all runs of an experiment share."""
    return experiment.folder / "checkpoints"


def path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"iter_{step:07d}"


def newest_step(folder: Path) -> int | None:
    """The step of the newest complete checkpoint; None without one, and for what is no checkpoint of Megatron.

    Only the tracker counts: it is written after a checkpoint is complete, so that a save that was killed is not seen.
    """
    tracker = folder / TRACKER
    if not tracker.is_file():
        return None
    text = tracker.read_text(encoding="utf-8").strip()
    if not text.isdecimal() or not path(folder, int(text)).is_dir():
        return None
    return int(text)


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint."""
    step = newest_step(folder)
    return None if step is None else path(folder, step)

"""Where a run starts: from zero, from its own newest checkpoint that can be read, or from the one that `load` names.
All processes follow rank 0's choice."""

from __future__ import annotations

from pathlib import Path

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException

from primus.backends.base import Resume
from primus.backends.megatron.architecture import architecture_of, differences
from primus.backends.megatron.checkpoint import Checkpoints
from primus.backends.megatron.checkpoint_folder import CheckpointFolder
from primus.backends.megatron.state import Training
from primus.backends.megatron.topology import broadcast_text
from primus.errors import ExperimentError, MissingError, Problem


def start_from(checkpoints: Checkpoints, training: Training, resume: Resume, run_id: str) -> str:
    """Put the training into the state that it starts from; a sentence that says which."""
    folder, settings = checkpoints.folder, training.arguments.settings
    if resume == "never":
        return _start_over(folder, run_id)
    if dist.get_rank() == 0:
        folder.clean()
    dist.barrier()
    if folder.newest() is not None:
        return _load_newest(checkpoints, training)
    if resume == "require":
        raise MissingError(f"{folder.path} has no checkpoint to resume from.")
    if settings.load is not None:
        return _load_other(checkpoints, training, CheckpointFolder(Path(settings.load)))
    return "Starts from zero."


def _start_over(folder: CheckpointFolder, run_id: str) -> str:
    aside = folder.set_aside(run_id) if dist.get_rank() == 0 else None
    dist.barrier()
    return "Starts from zero." + (f" The checkpoints that were here are in {aside} now." if aside else "")


def _load_newest(checkpoints: Checkpoints, training: Training) -> str:
    """Load the newest checkpoint that can be read; never falls back on zero."""
    folder, unreadable = checkpoints.folder, []
    for step in reversed(folder.steps()):
        damage = broadcast_text(folder.damage(step) if dist.get_rank() == 0 else None)
        if damage is None:
            _refuse_another_model(folder, step, training)
            try:
                checkpoints.load(step)
            except CheckpointException as error:  # the same on all processes
                damage = str(next(iter(error.failures.values()))[0])
            else:
                return f"Resumes from {folder.path_of(step)}, after step {training.progress.step}."
        unreadable.append(f"{folder.path_of(step)}: {damage}")
        print(f"Warning: this checkpoint can't be read, trying the one before: {unreadable[-1]}")
    raise MissingError(
        "No checkpoint can be read:\n  "
        + "\n  ".join(unreadable)
        + "\n--no-resume starts from zero and keeps them aside."
    )


def _load_other(checkpoints: Checkpoints, training: Training, source: CheckpointFolder) -> str:
    """Take the state, or only the weights, from a checkpoint of another experiment."""
    settings = training.arguments.settings
    steps = source.steps()
    wanted = settings.ckpt_step
    if not steps or (wanted is not None and wanted not in steps):
        there = ", ".join(map(str, steps)) or "none"
        asked = "a checkpoint" if wanted is None else f"the checkpoint of step {wanted}"
        raise MissingError(f"load: {source.path} does not hold {asked}; there: {there}.")
    step = steps[-1] if wanted is None else wanted
    _refuse_another_model(source, step, training)
    checkpoints.load(step, source=source, weights_only=settings.finetune)
    what = "weights" if settings.finetune else "state"
    return f"Starts with the {what} of {source.path_of(step)}, after step {training.progress.step}."


def _refuse_another_model(folder: CheckpointFolder, step: int, training: Training) -> None:
    there = folder.facts(step).get("architecture", {})
    found = differences(architecture_of(training.arguments, training.vocabulary), there)
    if found:
        raise ExperimentError(
            [
                Problem(
                    message=f"{folder.path_of(step)} is a checkpoint of another model:\n  "
                    + "\n  ".join(found)
                    + "\nUse another exp_name, or --no-resume to start from zero and keep it aside."
                )
            ]
        )

"""Where a run starts: from zero, from its own newest checkpoint that can be read, or from the one that `load` names.
All processes follow rank 0's choice."""

from __future__ import annotations

from pathlib import Path

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException

from primus.backends.base import Resume
from primus.backends.megatron.architecture import architecture_of, differences, optimizer_facts
from primus.backends.megatron.checkpoint import Checkpoints
from primus.backends.megatron.checkpoint_folder import CheckpointFolder
from primus.backends.megatron.settings import TrainingSettings
from primus.backends.megatron.state import Training
from primus.backends.megatron.topology import broadcast_text
from primus.errors import ExperimentError, MissingError, Problem


def brings_weights(folder: CheckpointFolder, settings: TrainingSettings, resume: Resume) -> bool:
    """Whether start_from() loads a checkpoint, or fails."""
    found = resume != "never" and (folder.newest() is not None or resume == "require" or settings.load is not None)
    return broadcast_text("yes" if found else None) is not None


def start_from(checkpoints: Checkpoints, training: Training, resume: Resume, run_id: str) -> str:
    """Put the training into the state that it starts from; a sentence that says which."""
    folder, settings = checkpoints.folder, training.arguments.settings
    if resume == "never":
        _require_weights(training)
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
    _require_weights(training)
    return "Starts from zero."


def _require_weights(training: Training) -> None:
    """ExperimentError when the weights are whatever was in memory."""
    if not training.arguments.transformer.perform_initialization:
        said = "perform_initialization: false draws no weights, and there is no checkpoint that brings them"
        raise ExperimentError([Problem(message=f"{said}: set it to true, or load.")])


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
            _refuse_another(folder, step, training)
            loaded = _try_to_load(checkpoints, step)
            if isinstance(loaded, list):
                where = f"Resumes from {folder.path_of(step)}, after step {training.progress.step}."
                return "\n  ".join([where, *(f"schedule: {change}" for change in loaded)])
            damage = loaded
        unreadable.append(f"{folder.path_of(step)}: {damage}")
        print(f"Warning: this checkpoint can't be read, trying the one before: {unreadable[-1]}")
    reasons = "\n  ".join(unreadable)
    raise MissingError(f"No checkpoint can be read:\n  {reasons}\n--no-resume starts from zero and keeps them aside.")


def _try_to_load(checkpoints: Checkpoints, step: int) -> list[str] | str:
    """Load a checkpoint, or say what is wrong with its files; all processes come to the same result."""
    try:
        return checkpoints.load(step)
    except CheckpointException as error:
        failures = [failure for failure, _ in error.failures.values()]
        if any(isinstance(failure, KeyError) for failure in failures):  # it has other contents: no damage
            raise
        return f"{type(failures[0]).__name__}: {failures[0]}"


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
    _refuse_another(source, step, training, weights_only=settings.finetune)
    checkpoints.load(step, source=source, weights_only=settings.finetune)
    what = "weights" if settings.finetune else "state"
    return f"Starts with the {what} of {source.path_of(step)}, after step {training.progress.step}."


def _refuse_another(folder: CheckpointFolder, step: int, training: Training, *, weights_only: bool = False) -> None:
    """ExperimentError when a checkpoint is of another model, or its optimizer state has another form."""
    facts, arguments = folder.facts(step), training.arguments
    found = differences(architecture_of(arguments, training.vocabulary), facts.get("architecture", {}))
    if found:
        remedy = "Use another exp_name, or --no-resume to start from zero and keep it aside."
        raise _problem(folder.path_of(step), "another model", found, remedy)
    if weights_only or arguments.settings.no_load_optim:
        return
    found = differences(optimizer_facts(arguments), facts.get("optimizer", {}))
    if found:
        remedy = "Set these keys as they were, or no_load_optim: true to start with a fresh optimizer."
        raise _problem(folder.path_of(step), "another optimizer state", found, remedy)


def _problem(checkpoint: Path, what: str, found: list[str], remedy: str) -> ExperimentError:
    listed = "\n  ".join(found)
    return ExperimentError([Problem(message=f"{checkpoint} is a checkpoint of {what}:\n  {listed}\n{remedy}")])

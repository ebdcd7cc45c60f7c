"""Where a run starts: from zero, after a checkpoint, or not at all since all is done. Rank 0 decides, and all follow.
trainer.py calls decide() before torchtitan loads anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from primus.backends.base import Resume
from primus.backends.torchtitan import saving
from primus.backends.torchtitan.checkpoint_folder import Checkpoint, checkpoints
from primus.errors import MissingError


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the experiment says about resuming."""

    folder: Path
    """Of the experiment's checkpoints."""

    resume: Resume
    run_id: str
    enabled: bool
    steps: int
    load_step: int
    """The step to go on from; -1: the last."""

    readers: int
    """Data-parallel ranks of this run."""

    data_excluded: bool
    """The position in the data is not to be loaded."""

    other: str | None
    """What the experiment starts from while it has no checkpoint of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where training starts."""

    checkpoint: Checkpoint | None = None
    """The one to load, of the experiment's own; the last one when training has finished."""

    finished: bool = False
    message: str


def decide(plan: Plan) -> Start:
    """Decide, and tidy the folder of checkpoints. Raises MissingError when there is nothing to go on from."""
    if not plan.enabled:
        if plan.resume == "require":
            raise MissingError("There is nothing to resume from: checkpoint.enable is false.")
        return Start(message="Training starts at step 1 and saves no checkpoints (checkpoint.enable is false).")
    saving.remove_leftovers(plan.folder)
    if plan.resume == "never":
        return _start_over(plan)
    found = checkpoints(plan.folder)
    if plan.load_step >= 0:
        found = [each for each in found if each.step == plan.load_step]
        if not found:
            raise MissingError(
                f"checkpoint.load_step: there is no complete checkpoint {plan.folder}/step-{plan.load_step}."
            )
    if not found:
        return _start_without(plan)
    usable = _newest_usable([each for each in found if each.resumable])
    if plan.load_step < 0 and found[0].step >= plan.steps:
        done = f"training.steps is {plan.steps}, and {found[0].path} is there already"
        return Start(finished=True, checkpoint=found[0], message=f"Nothing left to do: {done}.")
    if usable is None:
        raise MissingError(_no_way_on(found))
    _same_readers(plan, usable)
    return Start(checkpoint=usable, message=_how(usable, found[0]))


def _start_over(plan: Plan) -> Start:
    message = _from_zero(plan)
    if plan.folder.exists():
        aside = plan.folder.with_name(f"checkpoints-before-{plan.run_id}")
        plan.folder.rename(aside)
        message += f" The checkpoints that were there are in {aside} now."
    return Start(message=message)


def _start_without(plan: Plan) -> Start:
    if plan.resume == "require":
        raise MissingError(f"There is nothing to resume from: {plan.folder} holds no complete checkpoint.")
    return Start(message=_from_zero(plan))


def _from_zero(plan: Plan) -> str:
    return f"Training starts from {plan.other}." if plan.other else "Training starts at step 1."


def _newest_usable(candidates: Sequence[Checkpoint]) -> Checkpoint | None:
    """The first whose files are whole; says which are not."""
    for each in candidates:
        fault = saving.damage(each.path)
        if fault is None:
            return each
        print(f"Warning: {each.path} is damaged ({fault}); trying the one before.")
    return None


def _no_way_on(found: Sequence[Checkpoint]) -> str:
    if any(each.resumable for each in found):
        folder = found[0].path.parent
        return f"All checkpoints in {folder} are damaged. `--no-resume` starts from zero and keeps them aside."
    return (
        f"{found[0].path} holds only weights (checkpoint.last_save_model_only), so training can't go on from it. To "
        "train on with these weights and a new optimizer, give the experiment another exp_name and set "
        f'checkpoint.initial_load_path = "{found[0].path}". `--no-resume` starts from zero and keeps this one aside.'
    )


def _same_readers(plan: Plan, checkpoint: Checkpoint) -> None:
    if plan.data_excluded or checkpoint.readers in (0, plan.readers):
        return
    raise MissingError(
        f"{checkpoint.path} was saved with {checkpoint.readers} data-parallel ranks, and this run has {plan.readers}. "
        "torchtitan can't divide the position in the data anew. To go on with the data from its beginning, set "
        'checkpoint.exclude_from_loading = ["dataloader"].'
    )


def _how(start: Checkpoint, newest: Checkpoint) -> str:
    message = f"Training goes on after step {start.step}, from {start.path}."
    if newest.step > start.step and not newest.resumable:
        message += f" {newest.path.name} is newer, but holds only weights (checkpoint.last_save_model_only)."
    return message


def differences(saved: Mapping[str, Sequence[int]], here: Mapping[str, Sequence[int]]) -> list[str]:
    """How the shapes in a checkpoint differ from those of the model, in words; `here` may be a part of the model."""
    return [
        f"{name}: {'not there' if name not in saved else list(saved[name])} in the checkpoint, {list(shape)} here"
        for name, shape in here.items()
        if list(saved.get(name, ())) != list(shape)
    ]

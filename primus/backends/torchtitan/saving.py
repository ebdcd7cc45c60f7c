"""Checkpoints that appear whole or not at all. torchtitan's Trainer makes one of these instead of its own manager:
trainer.py sees to that."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torchtitan.components.checkpoint import AsyncMode, CheckpointManager

from primus.backends.torchtitan import checkpoint_folder
from primus.backends.torchtitan.checkpoint_folder import SAVING


class AtomicCheckpoints(CheckpointManager):  # type: ignore[misc]
    """torchtitan writes files straight into step-N: killed in between, it leaves half a checkpoint, or half of a new
    one over an old one of the same step. Here a checkpoint is written beside and renamed when all ranks are done."""

    start: int | None = None
    """The step of the checkpoint that training goes on from."""

    saved: int | None = None
    """The step that was saved last, so that a stop does not save it again."""

    during: Callable[[], AbstractContextManager[None]] = nullcontext
    """Is entered while a checkpoint is saved."""

    def load(self, step: int = -1) -> bool:
        return bool(super().load(-1 if self.start is None else self.start))

    def save(self, curr_step: int, last_step: bool = False) -> None:
        with self.during():
            super().save(curr_step, last_step)

    def dcp_save(self, state_dict: dict[str, Any], checkpoint_id: str, *arguments: Any, **options: Any) -> Any:
        target = Path(checkpoint_id)
        partial = target.with_name(target.name.replace("step-", SAVING))
        result = super().dcp_save(state_dict, str(partial), *arguments, **options)
        publication = _Publication(partial, target)
        uploaded = getattr(result, "upload_completion", result)
        if isinstance(uploaded, Future):
            uploaded.add_done_callback(lambda done: publication.publish() if done.exception() is None else None)
            self._publication = publication
        else:
            publication.publish()
        self.saved = int(target.name.removeprefix("step-"))
        return result

    def save_now(self, step: int) -> None:
        """Save everything, whatever the interval says, and wait until it is on disk."""
        with self.during():
            self._async_wait()
            if self.saved != step:
                states, target = self._flattened_model_states_sd(), self._create_checkpoint_id(step)
                self.dcp_save(states, target, AsyncMode.DISABLED, enable_garbage_collection=True)

    def newest(self) -> Path | None:
        """The last complete checkpoint that training can go on from."""
        return checkpoint_folder.newest(Path(self.folder)) if self.enable else None

    def will_save(self, step: int, *, last: bool) -> bool:
        """Whether save() will write a checkpoint after this step."""
        return bool(self._should_save(step, last))

    def _async_wait(self) -> None:
        super()._async_wait()
        if self._publication is not None:
            # The future wakes its waiters before it calls back.
            self._publication.publish()
            self._publication = None

    _publication: _Publication | None = None


class _Publication:
    """Gives a complete checkpoint its name, once. Rank 0 does it: torch's coordinator, which knows that all ranks have
    written before it returns."""

    def __init__(self, partial: Path, target: Path) -> None:
        self._partial = partial
        self._target = target
        self._lock = threading.Lock()

    def publish(self) -> None:
        with self._lock:
            if dist.get_rank() != 0 or not self._partial.exists():
                return
            replaced = self._target.with_name(f"{SAVING}replaced")
            if self._target.exists():
                self._target.rename(replaced)
            self._partial.rename(self._target)
            shutil.rmtree(replaced, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what interrupted saves have left, and the folder when nothing else is in it: for torchtitan an existing
    folder means that there is a checkpoint of this experiment's own."""
    if not folder.is_dir():
        return
    for path in folder.glob(f"{SAVING}*"):
        shutil.rmtree(path)
    if not any(folder.iterdir()):
        folder.rmdir()


def damage(path: Path) -> str | None:
    """What is wrong with the files of a checkpoint, as far as its index tells; None when they are all there."""
    metadata = torch.distributed.checkpoint.FileSystemReader(path).read_metadata()
    needed: dict[str, int] = {}
    for place in (metadata.storage_data or {}).values():
        needed[place.relative_path] = max(needed.get(place.relative_path, 0), place.offset + place.length)
    for name, size in needed.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size < size:
            return f"{name} is cut off: {file.stat().st_size} of {size} bytes"
    return None

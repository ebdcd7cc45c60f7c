"""What stands in an experiment's folder of checkpoints, without torch. The plan asks for the newest, the worker decides
from the list where training starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from primus.experiment import Experiment

SAVING = "saving-"
"""Start of the name of a checkpoint that is not complete: saving.py renames it when it is."""

_NAME = re.compile(r"step-(\d+)")
_DCP = ".metadata"
_SAFETENSORS = "model.safetensors.index.json"
_READER = re.compile(rb"dataloader\.dp_rank_(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A complete checkpoint."""

    path: Path
    step: int
    resumable: bool
    """It holds the optimizer and the position in the data too, not only weights. A seed checkpoint (step 0) counts:
    training starts from its weights."""

    readers: int
    """Data-parallel ranks whose position in the data it holds; 0 when it holds none."""


def folder_of(experiment: Experiment) -> Path:
    """Where the checkpoints of all runs of an experiment live."""
    return experiment.folder.absolute() / "checkpoints"


def checkpoints(folder: Path) -> list[Checkpoint]:
    """The complete checkpoints in a folder, the newest first."""
    if not folder.is_dir():
        return []
    named = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir()]
    found = [_read(path, int(match[1])) for match, path in named if match]
    return sorted((each for each in found if each), key=lambda each: each.step, reverse=True)


def has_index(path: Path) -> bool:
    """Whether a checkpoint is in torch's own format, which says what is in it; the other is safetensors."""
    return (path / _DCP).is_file()


def newest(folder: Path) -> Path | None:
    """The checkpoint that a resume would load."""
    return next((each.path for each in checkpoints(folder) if each.resumable), None)


def _read(path: Path, step: int) -> Checkpoint | None:
    """torchtitan writes one of two files last, when all others are there. The first is a pickle of torch objects; the
    names of the saved states stand in it as plain text."""
    index = path / _DCP
    if index.is_file():
        content = index.read_bytes()
        readers = {int(number) for number in _READER.findall(content)}
        return Checkpoint(path=path, step=step, resumable=step == 0 or b"train_state" in content, readers=len(readers))
    if (path / _SAFETENSORS).is_file():
        return Checkpoint(path=path, step=step, resumable=False, readers=0)
    return None

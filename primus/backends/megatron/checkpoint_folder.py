"""The folder of an experiment's checkpoints: which are complete, which is the newest, which may go.

File system only, no torch: `primus` looks here before a launch, checkpoint.py in the worker fills the folder.
A checkpoint is a folder that appears under its name in one rename, when all of it is on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.experiment import Experiment
from primus.run import write_text

FACTS = "primus.json"
"""In each checkpoint: what it is of, and the size and hash of its files."""

TRACKER = "latest_checkpointed_iteration.txt"
"""Megatron-LM's note of the newest checkpoint; written for it, not relied on here."""

_PREFIX = "iter_"
_PARTIAL = ".partial"
_SMALL = 1 << 26
"""Files up to this many bytes are hashed: metadata and everything that is not a tensor."""


def of(experiment: Experiment) -> CheckpointFolder:
    """Where the experiment's own checkpoints are."""
    return CheckpointFolder(experiment.folder / "checkpoints")


class CheckpointFolder:
    """A folder of checkpoints. Only rank 0 of a training calls the methods that change it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def steps(self) -> list[int]:
        """Steps of all complete checkpoints, the newest last."""
        if not self.path.is_dir():
            return []
        names = [entry.name.removeprefix(_PREFIX) for entry in self.path.glob(f"{_PREFIX}*") if entry.is_dir()]
        return sorted(int(name) for name in names if name.isdigit())

    def newest(self) -> Path | None:
        steps = self.steps()
        return self.path_of(steps[-1]) if steps else None

    def path_of(self, step: int) -> Path:
        return self.path / f"{_PREFIX}{step:07d}"

    def partial(self, step: int) -> Path:
        """Where a checkpoint is written before it gets its name."""
        return self.path / f".{_PREFIX}{step:07d}{_PARTIAL}"

    def begin(self, step: int) -> Path:
        """An empty folder to write the checkpoint of `step` into."""
        partial = self.partial(step)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def publish(self, step: int, facts: Mapping[str, Any]) -> Path:
        """Give the finished checkpoint its name; a crash before leaves no trace of it, a crash after all of it."""
        partial, final = self.partial(step), self.path_of(step)
        write_text(partial / FACTS, json.dumps({**facts, "files": _inventory(partial)}, indent=1) + "\n")
        _sync(partial)
        if final.exists():  # of a run that was resumed from before it
            final.rename(self.path / f".{final.name}.replaced{_PARTIAL}")
        partial.rename(final)
        _sync(self.path)
        write_text(self.path / TRACKER, str(step))
        self.clean()
        return final

    def clean(self) -> None:
        """Remove what a crash while saving has left."""
        for leftover in self.path.glob(f".{_PREFIX}*{_PARTIAL}"):
            shutil.rmtree(leftover, ignore_errors=True)

    def prune(self, *, keep_last: int | None, retain_interval: int | None) -> list[int]:
        """Delete checkpoints but the newest `keep_last` and those at multiples of `retain_interval`; what went."""
        if keep_last is None and retain_interval is None:
            return []
        old = self.steps()[: -(keep_last or 1)]
        gone = [step for step in old if not retain_interval or step % retain_interval]
        for step in gone:
            doomed = self.path / f".{_PREFIX}{step:07d}.old{_PARTIAL}"
            self.path_of(step).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
        return gone

    def facts(self, step: int) -> dict[str, Any]:
        """What publish() was told; empty for a checkpoint that Primus did not write."""
        try:
            data = json.loads((self.path_of(step) / FACTS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return dict(data)

    def damage(self, step: int) -> str | None:
        """Why the checkpoint can't be read, as far as the sizes of its files and the hashes of the small ones tell."""
        try:
            files = self.facts(step).get("files", {})
        except (OSError, ValueError) as error:
            return f"{FACTS}: {error}"
        for name, (size, digest) in files.items():
            path = self.path_of(step) / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} bytes instead of {size}"
            if digest and _digest(path) != digest:
                return f"{name} has changed since it was written"
        return None

    def set_aside(self, name: str) -> Path | None:
        """Move the folder away for a start from zero; where it went, or None when there was nothing."""
        if not self.steps():
            return None
        aside = self.path.with_name(f"{self.path.name}-before-{name}")
        self.path.rename(aside)
        return aside


def _inventory(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and hash (empty for large ones) of each file, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FACTS)
    sizes = {path: path.stat().st_size for path in files}
    return {
        str(path.relative_to(folder)): (size, _digest(path) if size <= _SMALL else "") for path, size in sizes.items()
    }


def _digest(path: Path) -> str:
    import hashlib  # slow to import, and not needed before a launch

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(folder: Path) -> None:
    """Make the names in a folder outlive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

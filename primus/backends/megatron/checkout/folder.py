"""The experiment's folder of checkpoints as Megatron-LM sees it: its tracker file names the newest. File system only;
the backend looks before a launch, the worker before it hands over."""

from __future__ import annotations

from pathlib import Path

from primus.backends.megatron.checkpoint_folder import TRACKER, CheckpointFolder


def newest_of(path: Path) -> Path | None:
    """The checkpoint that Megatron-LM would load, or None; one that was not finished is in no tracker."""
    try:
        step = (path / TRACKER).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    found = CheckpointFolder(path).path_of(int(step)) if step.isdigit() else path / step  # `release`
    return found if found.is_dir() else None

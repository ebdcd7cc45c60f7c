"""What an examination (`primus slurm submit --doctor`) has found, for those who look at jobs: why its job fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

from primus.launch.slurm.states import STOPPED
from primus.run import RunDirectory


def verdict(run: Path, exit_status: int | None) -> str | None:
    """The verdict of the run's report where the exit status is due to it; None for a training, too."""
    run_dir = RunDirectory(run)
    if not exit_status or exit_status in STOPPED or not os.path.exists(run_dir.report):
        return None
    severity = json.loads(run_dir.report.read_text(encoding="utf-8"))["severity"]
    return f"has found {severity}s: {run_dir.page}" if severity in ("warning", "error") else None

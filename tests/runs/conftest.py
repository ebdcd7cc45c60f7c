"""Run directories as finished, failed and killed runs leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from primus.run import RunDirectory, Status


class Workspace:
    """A workspace that runs are put into."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(
        self,
        id: str,
        *,
        experiment: str = "tiny",
        losses: list[Any] | None = None,
        values: dict[str, Any] | None = None,
        manifest: dict[str, Any] | None = None,
        torn: bytes = b"",
        **status: Any,
    ) -> Path:
        """A run with one report for each loss, and `torn` behind the last."""
        run_dir = RunDirectory.named(self.path / "amd" / "root" / experiment, id)
        files = {"experiment.yaml": json.dumps(values or {}), "manifest.json": json.dumps(manifest or {})}
        run_dir.create(files)
        fields = {"state": "succeeded", "exit_status": 0, "started": "2026-01-01T00:00:00Z"} | status
        run_dir.write_status(Status(**fields))
        lines = [
            json.dumps({"step": step, "time": step, "loss": loss, "tokens_per_second": 100.0 * step})
            for step, loss in enumerate(losses or (), 1)
        ]
        run_dir.metrics.write_bytes("".join(f"{line}\n" for line in lines).encode() + torn)
        return run_dir.path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "output").mkdir()
    return Workspace(tmp_path / "output")

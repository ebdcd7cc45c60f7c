"""Runs of every kind that a report may be asked for, written as their launchers and workers leave them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from primus.run import RunDirectory, Status

BEGIN = 1_767_225_600
"""2026-01-01T00:00:00Z"""


def reports(count: int, **replaced: Any) -> list[dict[str, Any]]:
    """One report for each step; `replaced` are functions of the step."""
    found = []
    for step in range(1, count + 1):
        report: dict[str, Any] = {
            "step": step,
            "loss": 2 + 4 * math.exp(-step / 50) + 0.05 * math.sin(step),
            "lr": 3e-4,
        }
        report |= {"grad_norm": 1.0, "step_time": 0.2 + 0.01 * (step % 7), "tokens_per_second": 1000.0 + step % 11}
        report |= {"mfu": 0.4, "memory_gib": 100.0, "moe_imbalance": 1.5, "time": BEGIN + step * 0.2}
        found.append(report | {name: value(step) for name, value in replaced.items()})
    return found


class Runs:
    """A workspace that runs are put into."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(
        self,
        id: str,
        lines: list[dict[str, Any]] | None = None,
        *,
        values: dict[str, Any] | None = None,
        manifest: dict[str, Any] | None = None,
        log: str = "",
        torn: bytes = b"",
        **status: Any,
    ) -> Path:
        run_dir = RunDirectory.named(self.path / "amd" / "me" / "tiny", id)
        module = {"framework": "megatron", "config": "pre_trainer.yaml", "model": "tiny_llama.yaml", "effective": True}
        experiment = {"exp_name": "tiny", "modules": {"pre_trainer": module | {"overrides": values or {"lr": 3e-4}}}}
        facts = {
            "format": 1,
            "primus": "0.1.0",
            "backend": "megatron",
            "command": ["primus", "train"],
            "total_steps": 100,
        }
        facts["resources"] = {"nnodes": 2, "nproc_per_node": 8, "world_size": 16}
        facts |= {"packages": {"torch": "2.13.0"}} | (manifest or {})
        run_dir.create({"experiment.yaml": json.dumps(experiment), "manifest.json": json.dumps(facts)})
        ends = {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z"}
        run_dir.write_status(Status(**{"state": "succeeded", "exit_status": 0, **ends, **status}))
        text = "".join(f"{json.dumps(line)}\n" for line in (reports(100) if lines is None else lines))
        run_dir.metrics.write_bytes(text.encode() + torn)
        run_dir.log_path(0, 0).write_text(log)
        return run_dir.path

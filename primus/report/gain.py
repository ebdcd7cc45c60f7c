"""What GEMM tuning brought to a run that was trained with tuned kernels: from its manifest and stage 2's
report.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MOST = 20
"""Shapes that are listed, those that training spends the most time with."""

_COLUMNS = ("gemm", "calls", "state", "default_us", "tuned_us", "gain", "share")


def tuning_of(manifest: Mapping[str, Any], notes: list[str]) -> dict[str, Any] | None:
    """None for a run without a tuning file."""
    facts = manifest.get("tuning")
    if not isinstance(facts, Mapping) or not facts.get("file"):
        return None
    found: dict[str, Any] = {"file": str(facts["file"])}
    report = Path(found["file"]).with_name("report.json")
    try:
        data = json.loads(report.read_bytes())
    except FileNotFoundError:
        notes.append(f"{report} is not here: the gain of each GEMM is not known")
        return found
    except (OSError, ValueError):
        data = None
    if not isinstance(data, dict):
        notes.append(f"{report} is damaged")
        return found
    shapes = [shape for shape in data.get("shapes") or () if isinstance(shape, Mapping)]
    found["total"] = data.get("total") or {}
    found["counts"] = data.get("counts") or {}
    found["shapes"] = [{name: shape.get(name) for name in _COLUMNS} for shape in shapes[:MOST]]
    found["others"] = max(0, len(shapes) - MOST)
    return found

"""report.json: what tuning brought for each shape, and in all. tuner.py writes it, `primus tune report` shows it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from primus.tuning.gemm import Gemm
from primus.tuning.table import details
from primus.tuning.tune.engine import Machine
from primus.tuning.tune.keep import Decided, Decision

VERSION = 1

_NEEDED = {"hipblaslt", "architecture", "engine", "ended", "counts", "total", "shapes", "notes"}
_OF_A_SHAPE = {"gemm", "with", "calls", "state", "reason"}
_OF_A_MEASURED_SHAPE = {"default_us", "tuned_us", "gain", "noise", "share"}
"""What is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Of the run of stage 2."""

    machine: Machine
    engine: str
    gpus: int
    max_workspace: int
    started: str
    seconds: float
    ended: str
    """`done`, or why it ended before."""


def make_report(
    facts: Facts, decided: Decided, *, skipped: Mapping[Gemm, str], left: Sequence[Gemm], calls: Mapping[Gemm, int]
) -> dict[str, Any]:
    """Shapes by the time that training spends with them, the most first; then those of which no time is known."""
    mine = [decision for decision in decided.decisions if decision.gemm in calls]
    total = sum(decision.weight for decision in mine)
    shapes = [_row(decision, total) for decision in reversed(mine)]
    shapes += [_untimed(gemm, calls[gemm], "skipped", reason) for gemm, reason in skipped.items()]
    shapes += [_untimed(gemm, calls[gemm], "left", "it was not begun, or not ended") for gemm in left]
    return {
        "version": VERSION,
        "hipblaslt": facts.machine.revision,
        "architecture": facts.machine.architecture,
        "compute_units": facts.machine.compute_units,
        "gpus": facts.gpus,
        "engine": facts.engine,
        "max_workspace": facts.max_workspace,
        "started": facts.started,
        "seconds": round(facts.seconds, 1),
        "ended": facts.ended,
        "counts": dict(Counter(shape["state"] for shape in shapes)),
        "total": _total(mine, total, calls),
        "shapes": shapes,
        "notes": list(decided.notes),
    }


def read_report(text: str) -> dict[str, Any]:
    """What as_text wrote. Raises ValueError when it is something else."""
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise ValueError("it is of another version of Primus, or no report")
    if missing := sorted(_NEEDED - found.keys()):
        raise ValueError(f"it has no {missing[0]!r}")
    for shape in found["shapes"]:
        needed = _OF_A_SHAPE | (_OF_A_MEASURED_SHAPE if "gain" in shape else set())
        if missing := sorted(needed - shape.keys()):
            raise ValueError(f"a shape has no {missing[0]!r}")
    return found


def as_text(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def _total(decisions: Sequence[Decision], before: float, calls: Mapping[Gemm, int]) -> dict[str, Any]:
    after = sum(decision.calls * decision.effective_us for decision in decisions)
    flops = sum(gemm.flops * count for gemm, count in calls.items()) or 1
    measured = sum(each.gemm.flops * each.calls for each in decisions if each.weight)
    return {
        "default_us": before,
        "tuned_us": after,
        "gain": before / after - 1 if after else 0.0,
        "saved": 1 - after / before if before else 0.0,
        "measured_flops": measured / flops,
    }


def _row(decision: Decision, total: float) -> dict[str, Any]:
    found = decision.entry.found
    row = _untimed(decision.gemm, decision.calls, decision.state, decision.reason)
    row |= {"seconds": decision.entry.seconds, "gpu": decision.entry.gpu}
    if found is None:
        return row
    comparison = found.comparison
    return row | {
        "default_us": comparison.default.median,
        "tuned_us": comparison.tuned.median,
        "gain": comparison.gain,
        "noise": comparison.noise,
        "share": decision.weight / total if total else 0.0,
        "default_index": found.default_index,
        "tuned_index": found.tuned_index,
        "solutions": found.solutions,
        "rejected": dict(found.rejected),
        "error": found.error,
    }


def _untimed(gemm: Gemm, calls: int, state: str, reason: str) -> dict[str, Any]:
    return {
        "gemm": gemm.title,
        "with": details(gemm),
        "problem": gemm.to_json(),
        "calls": calls,
        "state": state,
        "reason": reason,
    }

"""GEMM shapes for people and for programs: a table by share of the floating-point operations, and its JSON.

Stage 1 and `primus tune shapes` print it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from primus.table import table
from primus.tuning.gemm import Gemm
from primus.tuning.shapes import Shapes

_MOST_ROWS = 25
"""Shapes in the table; the rest is summed up in a line."""


def shapes_table(shapes: Shapes, *, title: str) -> str:
    """The heaviest shapes, and what all of them have in common."""
    total = _total(shapes)
    rows = [
        [gemm.title, details(gemm), f"{use.calls:,}", str(use.ranks), f"{gemm.flops * use.calls / total:.1%}"]
        for gemm, use in shapes.heaviest()[:_MOST_ROWS]
    ]
    lines = [f"{title}: {_summary(shapes)}", ""]
    lines += table(["GEMM", "WITH", "CALLS", "RANKS", "FLOPS"], rows, right=(2, 3, 4)).splitlines()
    left_out = shapes.heaviest()[_MOST_ROWS:]
    if left_out:
        share = sum(gemm.flops * use.calls for gemm, use in left_out) / total
        lines.append(f"and {len(left_out)} more, {share:.1%} of the operations")
    lines += ["", "Types: " + ", ".join(f"{name} {share:.1%}" for name, share in _types(shapes).items())]
    return "\n".join(lines)


def shapes_json(shapes: Shapes) -> dict[str, Any]:
    total = _total(shapes)
    return {
        "shapes": [
            {
                "problem": gemm.to_json(),
                "title": gemm.title,
                "calls": use.calls,
                "ranks": use.ranks,
                "flops_share": gemm.flops * use.calls / total,
            }
            for gemm, use in shapes.heaviest()
        ],
        "types": _types(shapes),
    }


def _total(shapes: Shapes) -> int:
    return sum(gemm.flops * use.calls for gemm, use in shapes.uses.items()) or 1


def _summary(shapes: Shapes) -> str:
    calls = sum(use.calls for use in shapes.uses.values())
    return f"{len(shapes.uses)} shape{'s' * (len(shapes.uses) != 1)}, {calls:,} call{'s' * (calls != 1)}"


def _types(shapes: Shapes) -> dict[str, float]:
    """Share of the operations by the types of the operands and of the result, the greatest first."""
    total, found = _total(shapes), Counter[str]()
    for gemm, use in shapes.uses.items():
        operands = gemm.a_type if gemm.a_type == gemm.b_type else f"{gemm.a_type}·{gemm.b_type}"
        name = operands if gemm.d_type == gemm.a_type else f"{operands}→{gemm.d_type}"
        found[name] += gemm.flops * use.calls
    return {name: flops / total for name, flops in found.most_common()}


def details(gemm: Gemm) -> str:
    """What a title does not say."""
    words = {
        "bias": gemm.bias_vector,
        gemm.activation: gemm.activation != "none",
        "gradient": gemm.gradient,
        "adds": gemm.reads_c,
        "grouped": gemm.grouped,
        "scaled": bool(gemm.scale_a or gemm.scale_b),
        "swizzled": gemm.swizzle_a or gemm.swizzle_b,
    }
    return " ".join(word for word, true in words.items() if true) or "-"

"""Records the matrix multiplications that torch executes, as a BLAS sees them: column-major."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses import FakeTensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from primus.metrics.matmul import Tally

aten = torch.ops.aten
OPERANDS = {
    aten.mm.default: (0, 1),
    aten.bmm.default: (0, 1),
    aten.addmm.default: (1, 2),
    aten.baddbmm.default: (1, 2),
}


class Recorder(TorchDispatchMode):
    """Counts every multiplication as `TN m n k xbatch`; `nothing` counts those without an element."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) for each in types):
            return NotImplemented  # it comes again, with this process' part
        # Where sizes are found out, nothing is multiplied.
        if function in OPERANDS and not any(issubclass(each, FakeTensor) for each in types):
            first, second = (args[place] for place in OPERANDS[function])
            self.found[name(first, second)] += 1
        return function(*args, **(kwargs or {}))


def name(first: torch.Tensor, second: torch.Tensor) -> str:
    """Row-major first·second is column-major second·first: the second operand is A."""
    batch = first.shape[0] if first.dim() == 3 else 1
    m, n, k = second.shape[-1], first.shape[-2], first.shape[-1]
    if not m * n * k:
        return "nothing"
    return f"{letter(second)}{letter(first)} {m} {n} {k} x{batch}"


def letter(matrix: torch.Tensor) -> str:
    """T for a matrix whose columns lie together in memory."""
    rows, columns = matrix.shape[-2:]
    step, across = matrix.stride()[-2:]
    if (across == 1 or columns == 1) and step >= columns:
        return "N"
    return "T" if (step == 1 or rows == 1) and across >= rows else "C"


def of_all(found: Counter[str], world: int) -> Counter[str]:
    """What all processes together have counted."""
    parts: list[Any] = [None] * world
    dist.all_gather_object(parts, dict(found))
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


def predicted(tally: Tally) -> dict[str, dict[str, int]]:
    """What a tally says: `exact`, and those of experts, which depend on the router."""
    found: dict[str, dict[str, int]] = {"exact": {}, "experts": {}}
    for matmul, calls in tally.calls.items():
        text = f"{matmul.trans_a}{matmul.trans_b} {matmul.m} {matmul.n} {matmul.k} x{matmul.batch}"
        kind = found["experts" if matmul.kind == "expert" else "exact"]
        kind[text] = kind.get(text, 0) + calls
    return found

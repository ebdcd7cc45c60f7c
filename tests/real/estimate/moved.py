"""Records what a process moves to others of each process group while a step runs: every collective and every send of
torch.distributed, whether Python, autograd or C++ calls for it. Bytes are those that a ring sends from each process."""

from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import _resolve_process_group
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def part(size: int) -> float:
    return (size - 1) / size


def nbytes(tensors: Any) -> int:
    return sum(each.numel() * each.element_size() for each in tree_leaves(tensors) if isinstance(each, torch.Tensor))


def sent_to_others(inputs: torch.Tensor, splits: list[int], group: Any) -> float:
    """Of an all-to-all: rows for other processes; without splits, all get as many."""
    if not splits:
        return part(group.size()) * nbytes(inputs)
    return nbytes(inputs) / max(1, sum(splits)) * (sum(splits) - splits[group.rank()])


NATIVE = {
    "allreduce_": lambda args, group: 2 * part(group.size()) * nbytes(args[0]),
    "allreduce_coalesced_": lambda args, group: 2 * part(group.size()) * nbytes(args[0]),
    "_allgather_base_": lambda args, group: part(group.size()) * nbytes(args[0]),
    "allgather_": lambda args, group: part(group.size()) * nbytes(args[0]),
    "allgather_into_tensor_coalesced_": lambda args, group: part(group.size()) * nbytes(args[0]),
    "_reduce_scatter_base_": lambda args, group: part(group.size()) * nbytes(args[1]),
    "reduce_scatter_": lambda args, group: part(group.size()) * nbytes(args[1]),
    "reduce_scatter_tensor_coalesced_": lambda args, group: part(group.size()) * nbytes(args[1]),
    "alltoall_base_": lambda args, group: sent_to_others(args[1], args[4], group),
    # gloo, which wants equal parts, is given unequal ones in turns: a part from each process, or for each.
    "broadcast_": lambda args, group: part(group.size()) * nbytes(args[0]),
    "reduce_": lambda args, group: part(group.size()) * nbytes(args[0]),
    "send": lambda args, group: nbytes(args[0]),
}
"""Operation of c10d → bytes that each process sends."""

FUNCTIONAL = {
    "all_reduce": lambda args, group: 2 * part(group.size()) * nbytes(args[0]),
    "all_reduce_": lambda args, group: 2 * part(group.size()) * nbytes(args[0]),
    "all_reduce_coalesced": lambda args, group: 2 * part(group.size()) * nbytes(args[0]),
    "all_gather_into_tensor": lambda args, group: (group.size() - 1) * nbytes(args[0]),
    "all_gather_into_tensor_out": lambda args, group: (group.size() - 1) * nbytes(args[0]),
    "all_gather_into_tensor_coalesced": lambda args, group: (group.size() - 1) * nbytes(args[0]),
    "reduce_scatter_tensor": lambda args, group: part(group.size()) * nbytes(args[0]),
    "reduce_scatter_tensor_coalesced": lambda args, group: part(group.size()) * nbytes(args[0]),
    "all_to_all_single": lambda args, group: sent_to_others(args[0], args[2], group),
}
"""The same of functional collectives. What they call in turn is not seen."""

SILENT = {"recv_", "recv_any_source_", "barrier", "monitored_barrier_", "wait_tensor", "_wrap_tensor_autograd"}


class Moved(TorchDispatchMode):
    """`with Moved() as moved: step()`, then moved.bytes: (description of the group, operation) → bytes sent."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) for each in types):
            return NotImplemented  # it comes again, as what it is made of
        space, _, name = func._schema.name.partition("::")
        if space == "c10d" and name not in SILENT:
            group = next(dist.ProcessGroup.unbox(each) for each in args if isinstance(each, torch.ScriptObject))
            self._note(NATIVE[name], name, args, group)
        elif space in ("_c10d_functional", "_c10d_functional_autograd") and name not in SILENT:
            self._note(FUNCTIONAL[name], name, args, _resolve_process_group(args[-1]))
        return func(*args, **(kwargs or {}))

    def _note(self, rule: Any, name: str, args: Any, group: Any) -> None:
        if group.size() > 1:
            self.bytes[group.group_desc, name] += rule(args, group)

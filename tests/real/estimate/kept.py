"""Counts the bytes that autograd keeps of a forward pass: each storage once, without the model's own tensors."""

from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.tensor import DTensor
from torch.utils import checkpoint


class Kept:
    """`with Kept(model) as kept: loss = model(...)`, then kept.bytes()."""

    def __init__(self, model: torch.nn.Module) -> None:
        own = [*model.parameters(), *model.buffers()]
        self._own = {here(each).untyped_storage()._cdata for each in own}
        self._found: dict[int, Any] = {}
        self._hooks = saved_tensors_hooks(self._note, lambda tensor: tensor)
        self._wrap = checkpoint._VersionWrapper.__init__

    def __enter__(self) -> "Kept":
        wrap, note = self._wrap, self._note

        def init(self: Any, value: Any) -> None:
            """Selective recomputation keeps results beside autograd, in these."""
            if isinstance(value, torch.Tensor):
                note(value)
            wrap(self, value)

        checkpoint._VersionWrapper.__init__ = init
        self._hooks.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._hooks.__exit__(*raised)
        checkpoint._VersionWrapper.__init__ = self._wrap

    def bytes(self) -> int:
        """Now: what was given back after it was kept does not count."""
        return sum(storage.nbytes() for storage in self._found.values())

    def _note(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = here(tensor).untyped_storage()
        if storage._cdata not in self._own:
            self._found[storage._cdata] = storage
        return tensor


def here(tensor: torch.Tensor) -> torch.Tensor:
    """What this process has of a divided tensor."""
    if isinstance(tensor, DTensor):
        return here(tensor._local_tensor)
    return tensor.elem if isinstance(tensor, AsyncCollectiveTensor) else tensor

"""How evenly the experts of a torchtitan model are used: collects what its routers have counted in each step. The
trainer feeds it, the metrics report it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.pipelining import PipelineStage

from primus.metrics.experts import ExpertLoad


def watch_experts(model_parts: Sequence[torch.nn.Module], device: torch.device) -> Experts | None:
    """The experts of this process; None for a model without. All processes must call it."""
    found = {
        int(name): block.moe
        for part in model_parts
        for name, block in getattr(part, "layers", torch.nn.ModuleDict()).items()
        if getattr(block, "moe_enabled", False)
    }
    experts = max((len(moe.tokens_per_expert) for moe in found.values()), default=0)
    sizes = torch.tensor([experts, max(found, default=-1) + 1], device=device)
    if dist.get_world_size() > 1:  # other pipeline stages have other layers
        dist.all_reduce(sizes, op=dist.ReduceOp.MAX)
    experts, layers = sizes.tolist()
    if not experts:
        return None
    _forget_trials()
    return Experts(found, ExpertLoad(layers=layers, experts=experts, device=device), device)


def _forget_trials() -> None:
    """Before its first step, a pipeline stage runs a microbatch to learn the shapes of what stages exchange. Its tokens
    would count, and the experts of a resumed run would be balanced otherwise than those of one that went on."""
    for name in _TRIALS:
        original = getattr(PipelineStage, name, None)
        if original is not None:
            setattr(PipelineStage, name, _then_forget(original))


_TRIALS = ("_post_metadata_inference_cleanup", "_shape_inference")
"""What ends the trial, in new and in older versions of PyTorch."""


def _then_forget(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def run(stage: PipelineStage, *arguments: Any, **options: Any) -> Any:
        result = original(stage, *arguments, **options)
        for name, counts in stage.submod.named_buffers():
            if name.endswith("tokens_per_expert"):
                counts.zero_()
        return result

    return run


class Experts:
    """The layers with experts of one process, by their number."""

    def __init__(self, found: dict[int, Any], load: ExpertLoad, device: torch.device) -> None:
        self._found = list(found.values())
        self._layers = torch.tensor(list(found), dtype=torch.int64, device=device)
        self._load = load

    def step_begins(self) -> None:
        """Forget what was counted since the last step, in validation: torchtitan would balance by it as well."""
        for moe in self._found:
            moe.tokens_per_expert.zero_()

    def step_counted(self) -> None:
        """The routers have seen the whole batch; the optimizer is next, and forgets the counts."""
        if self._found:
            self._load.add(self._layers, torch.stack([moe.tokens_per_expert for moe in self._found]))

    def report(self) -> float | None:
        """As ExpertLoad. Tensor-parallel ranks count the same tokens, and recomputed layers count twice; neither
        changes the ratio."""
        return self._load.report()

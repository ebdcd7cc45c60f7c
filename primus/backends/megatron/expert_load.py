"""How evenly the experts of a Megatron model are used: counts what each router decides. The loop reports it."""

from __future__ import annotations

from typing import Any

import torch
from megatron.core.transformer.moe.router import TopKRouter
from megatron.core.utils import unwrap_model

from primus.backends.megatron.state import Training
from primus.metrics.experts import ExpertLoad


def watch_experts(training: Training) -> ExpertLoad | None:
    """Count the tokens of every expert from now on, without those of evaluation; None for a model without experts."""
    config = training.arguments.transformer
    if not config.num_moe_experts:
        return None
    load = ExpertLoad(layers=config.num_layers, experts=config.num_moe_experts, device=training.device)

    def count(router: Any, inputs: Any, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        if router.training:
            load.add(router.layer_number - 1, output[1].sum(dim=0))

    for chunk in training.chunks:
        # Not the layers of multi-token prediction, which count from 1 again.
        for module in unwrap_model(chunk).decoder.modules():
            if isinstance(module, TopKRouter):
                module.register_forward_hook(count)
    return load

"""One pass of a global batch through the model, forward and back, by megatron.core's schedule for the layout."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from megatron.core.num_microbatches_calculator import get_num_microbatches
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.utils import get_batch_on_this_cp_rank

from primus.backends.megatron.state import Training

Losses = list[dict[str, torch.Tensor]]
"""For each micro-batch the summed loss and the number of its tokens; empty on stages that don't compute the loss."""


def forward_backward(training: Training, batches: list[Any], *, forward_only: bool = False) -> Losses:
    """Run all micro-batches of one step; `batches` holds an iterator for each chunk of the model."""
    settings = training.arguments.settings
    losses: Losses = get_forward_backward_func()(
        forward_step_func=partial(_forward, training.device),
        data_iterator=batches,
        model=training.chunks,
        num_microbatches=get_num_microbatches(),
        seq_length=settings.seq_length,
        micro_batch_size=settings.micro_batch_size,
        decoder_seq_length=settings.seq_length,
        forward_only=forward_only,
    )
    return losses


def _forward(device: torch.device, batches: Any, model: Any) -> tuple[torch.Tensor, Any]:
    batch = {} if batches is None else next(batches)
    batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    batch = get_batch_on_this_cp_rank(batch)
    output = model(
        batch.get("tokens"),
        batch.get("position_ids"),
        batch.get("attention_mask"),
        labels=batch.get("labels"),
        loss_mask=batch.get("loss_mask"),
    )
    return output, partial(_loss, batch.get("loss_mask"))


def _loss(mask: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """The summed loss, its number of tokens (by which the schedule divides) and both once more for the report."""
    weights = mask.view(-1).float()
    loss = torch.sum(output.view(-1).float() * weights)
    tokens = weights.sum().detach()
    return loss, tokens.to(torch.int), {"lm loss": torch.stack([loss.detach(), tokens])}

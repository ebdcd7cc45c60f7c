"""What a training run is made of while it runs, and how far it has come. The loop owns it, checkpoint.py saves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from megatron.core.distributed import finalize_model_grads
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

from primus.backends.megatron.arguments import Arguments
from primus.backends.megatron.model import build_model
from primus.backends.megatron.optimizer import build_optimizer, build_schedule


@dataclass(kw_only=True)
class Progress:
    """How far the training has come."""

    step: int = 0
    """Finished steps."""

    samples: int = 0
    """Sequences consumed, also by steps that were left out."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """The parts of a run, on this process."""

    arguments: Arguments
    device: torch.device
    vocabulary: int
    """Rows of the embedding before padding."""

    chunks: list[Any]
    """The model: one wrapped GPTModel, or one for each virtual pipeline stage."""

    optimizer: Any
    schedule: OptimizerParamScheduler
    progress: Progress = field(default_factory=Progress)


def assemble(arguments: Arguments, vocabulary: int, device: torch.device, *, draw: bool = True) -> Training:
    """Build model, optimizer and schedule, and tie them together as megatron's schedules expect it.

    `draw` false: a checkpoint brings the weights.
    """
    chunks = build_model(arguments, vocabulary, device, draw=draw)
    for chunk in chunks:
        chunk.train()
    optimizer = build_optimizer(arguments, chunks)
    _connect(arguments, chunks, optimizer)
    return Training(
        arguments=arguments,
        device=device,
        vocabulary=vocabulary,
        chunks=chunks,
        optimizer=optimizer,
        schedule=build_schedule(arguments, optimizer),
    )


def _connect(arguments: Arguments, chunks: list[Any], optimizer: Any) -> None:
    """Hand the functions that the schedules call to the configuration that they find them in."""
    config, ddp = arguments.transformer, arguments.ddp
    config.finalize_model_grads_func = finalize_model_grads
    config.grad_scale_func = optimizer.scale_loss
    if ddp.overlap_grad_reduce:
        config.no_sync_func = _each(chunks, "no_sync")
        if arguments.settings.align_grad_reduce:
            config.grad_sync_func = _each(chunks, "start_grad_sync")
    if ddp.overlap_param_gather and ddp.align_param_gather:
        config.param_sync_func = _each(chunks, "start_param_sync")


def _each(chunks: list[Any], method: str) -> Any:
    """The method of the only chunk, or a list with that of each."""
    methods = [getattr(chunk, method) for chunk in chunks]
    return methods[0] if len(methods) == 1 else methods

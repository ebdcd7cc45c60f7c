"""The optimizer, its schedule, and one step of both. NaN is found here, before it reaches the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.optimizer import get_megatron_optimizer
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler, get_canonical_lr_for_logging

from primus.backends.megatron.arguments import Arguments


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one optimizer step did."""

    updated: bool
    """False when the weights stayed as they were."""

    lr: float
    """Learning rate of the parameters that follow the common schedule."""

    grad_norm: float
    """Norm of the whole gradient before clipping; NaN or infinite when the gradient is."""

    zeros: float | None = None
    """Zeros in the gradient, with log_num_zeros_in_grad."""


def build_optimizer(arguments: Arguments, chunks: list[Any]) -> Any:
    """Megatron's optimizer over all chunks: a ChainedOptimizer of one for dense and one for expert parameters."""
    return get_megatron_optimizer(arguments.optimizer, chunks)


def build_schedule(arguments: Arguments, optimizer: Any) -> OptimizerParamScheduler:
    """Learning rate and weight decay as functions of the sequences seen so far."""
    settings, config, batch = arguments.settings, arguments.optimizer, arguments.global_batch_size
    decay = settings.lr_decay_iters or settings.train_iters
    fraction = settings.lr_warmup_fraction
    warmup = settings.lr_warmup_iters if fraction is None else fraction * decay
    start, end = settings.start_weight_decay, settings.end_weight_decay
    return OptimizerParamScheduler(
        optimizer,
        init_lr=settings.lr_warmup_init,
        max_lr=config.lr,
        min_lr=config.min_lr,
        lr_warmup_steps=warmup * batch,
        lr_decay_steps=decay * batch,
        lr_decay_style=settings.lr_decay_style,
        start_wd=config.weight_decay if start is None else start,
        end_wd=config.weight_decay if end is None else end,
        wd_incr_steps=settings.train_iters * batch,
        wd_incr_style=settings.weight_decay_incr_style,
        use_checkpoint_opt_param_scheduler=settings.use_checkpoint_opt_param_scheduler,
        override_opt_param_scheduler=not settings.use_checkpoint_opt_param_scheduler,
        wsd_decay_steps=settings.lr_wsd_decay_iters * batch if settings.lr_wsd_decay_iters else None,
        lr_wsd_decay_style=settings.lr_wsd_decay_style,
    )


def load_optimizer_state(optimizer: Any, state: Any, *, keep_schedule: bool) -> None:
    """Load tensors and step counts; the options of all parameter groups stay those of the experiment.

    Their rates and weight decays, too, unless `keep_schedule` asks for the checkpoint's.
    """
    left = {*_COUNTED, *_SCHEDULED} if keep_schedule else {*_COUNTED}
    options = [{key: value for key, value in group.items() if key not in left} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, options, strict=True):
        group.update(own)


def schedule_changes(schedule: OptimizerParamScheduler, saved: Mapping[str, Any]) -> list[str]:
    """`max_lr was 0.003, is 0.001` for each value in which the experiment's schedule differs from the saved one."""
    now = schedule.state_dict()
    return [f"{key} was {saved[key]}, is {now[key]}" for key in now if key != "num_steps" and saved[key] != now[key]]


_COUNTED = ("params", "step", "lr", "weight_decay")
"""Parts of a parameter group that change during a training: the schedule sets the last two anew."""

_SCHEDULED = ("max_lr", "min_lr", "start_wd", "end_wd")


@torch.no_grad()  # type: ignore[untyped-decorator]
def take_step(optimizer: Any, *, refuse_nan: bool) -> Step:
    """Clip the gradient and update the weights; leave them alone when it is NaN or infinite and `refuse_nan`.

    The parts of ChainedOptimizer.step(), with the norm taken also without clipping, since it is reported.
    """
    lr = get_canonical_lr_for_logging(optimizer.param_groups) or 0.0
    if optimizer.prepare_grads():  # fp16: the scaler has noticed an overflow, and will try a smaller scale
        return Step(updated=False, lr=lr, grad_norm=math.inf)
    norm = optimizer.get_grad_norm()
    if refuse_nan and not math.isfinite(norm):
        return Step(updated=False, lr=lr, grad_norm=norm)
    config = optimizer.config
    for part in optimizer.chained_optimizers if config.clip_grad > 0 else ():
        parameters = [] if getattr(part, "is_stub_optimizer", False) else part.get_parameters()
        if parameters:
            clip_grad_by_total_norm_fp32(
                parameters, config.clip_grad, norm, config.use_precision_aware_optimizer_no_fp8_or_ds_fp8
            )
    zeros = optimizer.count_zeros() if config.log_num_zeros_in_grad else None
    return Step(updated=optimizer.step_with_ready_grads(), lr=lr, grad_norm=norm, zeros=zeros)


def loss_scale(optimizer: Any) -> float:
    """Factor on the loss, for fp16; 1 otherwise."""
    return float(optimizer.get_loss_scale().item())

"""What the loop reports of a step: the loss of all replicas, auxiliary losses, and what measures the rest."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state as groups
from megatron.core.num_microbatches_calculator import get_num_microbatches
from megatron.core.transformer.moe.moe_utils import clear_aux_losses_tracker, track_moe_metrics
from megatron.core.transformer.multi_token_prediction import MTPLossLoggingHelper

from primus.backends.megatron import BACKEND
from primus.backends.megatron.arguments import Arguments
from primus.backends.megatron.parameters import complete_values
from primus.backends.megatron.shape import shape_of
from primus.backends.megatron.state import Training
from primus.backends.worker import Worker
from primus.metrics.accelerators import Precision
from primus.metrics.flops import training_flops
from primus.metrics.monitor import Monitor

_BALANCING = {
    "aux_loss": "load_balancing_loss",
    "seq_aux_loss": "seq_load_balancing_loss",
    "global_aux_loss": "global_load_balancing_loss",
}
"""Kind of load balancing → the name under which megatron tracks its loss."""


def make_monitor(worker: Worker, training: Training, *, reports: bool) -> Monitor:
    """What measures this process; `reports` in the one that records."""
    arguments, settings = training.arguments, training.arguments.settings
    values = complete_values(worker.experiment.plain(), BACKEND.schema())
    monitor = Monitor(
        tokens_per_step=arguments.global_batch_size * settings.seq_length,
        devices=worker.world_size,
        flops_per_token=training_flops(shape_of(values, vocabulary=training.vocabulary)),
        precision=_precision(arguments.transformer),
        device=training.device,
        reports=reports,
        skip=settings.log_avg_skip_iterations,
        reset=settings.log_avg_reset_interval,
    )
    _tell_own_work(arguments.transformer, monitor)
    return monitor


def _precision(config: Any) -> Precision:
    """What most of the multiplications are done in."""
    if config.fp8:
        return "fp8"
    if config.bf16 or config.fp16:
        return "bf16" if config.bf16 else "fp16"
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "fp32"


def _tell_own_work(config: Any, monitor: Monitor) -> None:
    """A process' own work in a step ends where its gradients meet those of the others."""
    finalize = config.finalize_model_grads_func

    def finalize_model_grads(*arguments: Any, **options: Any) -> None:
        monitor.waits_from_here()
        finalize(*arguments, **options)

    config.finalize_model_grads_func = finalize_model_grads


def mean_loss(losses: list[dict[str, torch.Tensor]]) -> float | None:
    """Loss per token over all micro-batches and replicas; None on stages that don't compute one."""
    if not losses:
        return None
    total = torch.stack([loss["lm loss"] for loss in losses]).sum(dim=0)
    replicas = groups.get_data_parallel_group(with_context_parallel=True)
    if replicas.size() > 1:
        dist.all_reduce(total, group=replicas)
    loss_sum, tokens = total.tolist()
    return float(loss_sum / max(1.0, tokens))


def auxiliary_losses(arguments: Arguments, step: int) -> dict[str, float]:
    """Losses of load balancing and of multi-token prediction of this step; all processes must call it."""
    config = arguments.transformer
    losses: dict[str, Any] = {}
    if config.num_moe_experts:
        track_moe_metrics(
            loss_scale=1 / get_num_microbatches(),
            iteration=step,
            total_loss_dict=losses,
            force_initialize=True,
            track_names=_tracked(config),
            num_layers=config.num_layers,
            moe_layer_freq=config.moe_layer_freq,
            mtp_num_layers=config.mtp_num_layers,
        )
        losses = {f"moe_{name}": value for name, value in losses.items()}
    if config.mtp_num_layers:
        MTPLossLoggingHelper.track_mtp_metrics(1 / get_num_microbatches(), step, None, total_loss_dict=losses)
    return {name.replace(" ", "_"): float(value) for name, value in losses.items()}


def forget_auxiliary_losses(arguments: Arguments) -> None:
    """Drop what a step that is not reported has collected."""
    if arguments.transformer.num_moe_experts:
        clear_aux_losses_tracker()
    if arguments.transformer.mtp_num_layers and "values" in MTPLossLoggingHelper.tracker:
        MTPLossLoggingHelper.clean_loss_in_tracker()


def _tracked(config: Any) -> list[str]:
    kinds = config.moe_router_load_balancing_type
    kinds = [kinds] if isinstance(kinds, str) else kinds
    names = [_BALANCING[kind] for kind in kinds if kind in _BALANCING]
    return names + (["z_loss"] if config.moe_z_loss_coeff is not None else [])

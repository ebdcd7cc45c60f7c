"""What the loop reports of a step: the loss of all replicas, auxiliary losses, speed and averages."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state as groups
from megatron.core.num_microbatches_calculator import get_num_microbatches
from megatron.core.transformer.moe.moe_utils import clear_aux_losses_tracker, track_moe_metrics
from megatron.core.transformer.multi_token_prediction import MTPLossLoggingHelper

from primus.backends.megatron.arguments import Arguments

_BALANCING = {
    "aux_loss": "load_balancing_loss",
    "seq_aux_loss": "seq_load_balancing_loss",
    "global_aux_loss": "global_load_balancing_loss",
}
"""Kind of load balancing → the name under which megatron tracks its loss."""


class Clock:
    """Wall time per step and tokens per second: since the last report, and on average."""

    def __init__(self, arguments: Arguments) -> None:
        settings = arguments.settings
        self._tokens = arguments.global_batch_size * settings.seq_length
        self._skip = settings.log_avg_skip_iterations
        self._reset = settings.log_avg_reset_interval
        self._seen = 0
        self._lap = _Lap()
        self._average = _Lap()

    def step_done(self) -> None:
        self._seen += 1
        self._lap.steps += 1
        self._average.steps += 1
        if self._seen == self._skip or (self._reset and (self._seen - self._skip) % self._reset == 0):
            self._average = _Lap()

    def pause(self) -> _Pause:
        """A context whose time does not count: saving, evaluation."""
        return _Pause((self._lap, self._average))

    def report(self) -> dict[str, float]:
        """Metrics since the last report; starts the next lap."""
        lap, self._lap = self._lap, _Lap()
        metrics = {"step_time": lap.per_step(), "tokens_per_second": self._tokens / lap.per_step()}
        if self._average.steps and self._seen > self._skip:
            metrics["tokens_per_second_average"] = self._tokens / self._average.per_step()
        return metrics


class _Lap:
    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.steps = 0

    def per_step(self) -> float:
        return (time.perf_counter() - self.start) / max(1, self.steps)


class _Pause:
    def __init__(self, laps: tuple[_Lap, ...]) -> None:
        self._laps = laps

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        for lap in self._laps:
            lap.start += time.perf_counter() - self._began


def mean_loss(losses: list[dict[str, torch.Tensor]]) -> float | None:
    """Loss per token over all micro-batches and replicas; None on stages that don't compute one."""
    if not losses:
        return None
    total = torch.stack([loss["lm loss"] for loss in losses]).sum(dim=0)
    dist.all_reduce(total, group=groups.get_data_parallel_group(with_context_parallel=True))
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

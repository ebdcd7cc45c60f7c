"""torchtitan's metrics under Primus' names: each logged step goes to Worker.record() once, on the rank that has the
loss. model.py puts it into the model's specification."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import ExitStack
from typing import Any

import torch
from torchtitan.components.metrics import MetricsProcessor
from torchtitan.config import JobConfig
from torchtitan.tools.logging import logger
from torchtitan.tools.utils import device_type

from primus.backends.torchtitan.expert_load import Experts
from primus.backends.worker import Worker
from primus.metrics.accelerators import Precision
from primus.metrics.monitor import Monitor


class Metrics(MetricsProcessor):  # type: ignore[misc]
    """What torchtitan's Trainer calls; Primus measures and reports instead of torchtitan."""

    def __init__(
        self, worker: Worker, reporting_rank: int, flops_per_token: int | None, config: JobConfig, *arguments: Any
    ) -> None:
        super().__init__(_without_services(config), *arguments)
        self._worker = worker
        self._reports = worker.rank == reporting_rank
        self._flops = flops_per_token
        """None for a model of somebody else's: then torchtitan's own formula counts."""

        self._last_step = 0
        self._monitor: Any = None
        self._experts: Experts | None = None
        self._between_steps = ExitStack()
        logger.addFilter(_leave_steps_to_the_worker)

    def start(self, step: int, tokens_per_step: int, experts: Experts | None) -> None:
        """Training goes on after `step`: what was before, building and loading the model, is no time of a step."""
        self._last_step = step
        self._experts = experts
        self._monitor = Monitor(
            tokens_per_step=tokens_per_step,
            devices=self._worker.world_size,
            flops_per_token=self._flops or self.num_flops_per_token,
            precision=_precision(self.job_config),
            device=_device(),
            reports=self._reports,
        )

    def step_begins(self) -> None:
        """What was since step_ends() is no time of a step: validation, saving."""
        self._between_steps.close()

    def step_ends(self) -> None:
        self._between_steps.enter_context(self._monitor.pause())

    def should_log(self, step: int) -> bool:
        """As torchtitan, and the last step too."""
        return bool(super().should_log(step)) or step == self.job_config.training.steps

    def log(
        self,
        step: int,
        global_avg_loss: float,
        global_max_loss: float,
        grad_norm: float,
        extra_metrics: dict[str, Any] | None = None,
    ) -> None:
        self._monitor.step_done(step - self._last_step)
        self._monitor.add_data_time(sum(self.data_loading_times))
        more = self._monitor.report(step, global_avg_loss)
        imbalance = None if self._experts is None else self._experts.report()
        if imbalance is not None:
            more["moe_imbalance"] = imbalance
        if self._reports:
            self._worker.record(
                step=step, loss=global_avg_loss, lr=(extra_metrics or {})["lr"], grad_norm=grad_norm, **more
            )
        self._last_step = step
        super().log(step, global_avg_loss, global_max_loss, grad_norm, extra_metrics)

    def log_validation(self, loss: float, step: int, extra_metrics: dict[str, Any] | None = None) -> None:
        if self._reports:
            self._worker.record(step=step, valid_loss=loss)
        super().log_validation(loss, step, extra_metrics)


def _without_services(config: JobConfig) -> JobConfig:
    """The worker reports to TensorBoard and Weights & Biases, under the names that all backends share."""
    metrics = dataclasses.replace(config.metrics, enable_tensorboard=False, enable_wandb=False)
    return dataclasses.replace(config, metrics=metrics)


def _precision(config: JobConfig) -> Precision:
    """What most of the multiplications are done in."""
    if any("float8" in name or ".mx" in name for name in config.model.converters):
        return "fp8"
    if "bfloat16" in (config.training.mixed_precision_param, config.training.dtype):
        return "bf16"
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "fp32"


def _device() -> torch.device:
    return torch.device(device_type, torch.cuda.current_device()) if device_type == "cuda" else torch.device("cpu")


def _leave_steps_to_the_worker(record: logging.LogRecord) -> bool:
    """torchtitan prints a line of its own for each logged step and validation."""
    return not (record.module == "metrics" and record.funcName in ("log", "log_validation"))

"""torchtitan's metrics under Primus' names: each logged step goes to Worker.record() once, on the rank that has the
loss. model.py puts it into the model's specification."""

from __future__ import annotations

import logging
import time
from typing import Any

from torchtitan.components.metrics import MetricsProcessor
from torchtitan.tools.logging import logger

from primus.backends.worker import Worker


class Metrics(MetricsProcessor):  # type: ignore[misc]
    """Adds Worker.record() to what torchtitan does for TensorBoard and Weights & Biases."""

    def __init__(self, worker: Worker, reporting_rank: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._worker = worker
        self._reports = worker.rank == reporting_rank
        self._last_step = 0
        logger.addFilter(_leave_steps_to_the_worker)

    def start(self, step: int) -> None:
        """Training goes on after `step`: what was before, building and loading the model, is no time of a step."""
        self._last_step = step
        self.time_last_log = time.perf_counter()

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
        if self._reports:
            self._worker.record(
                step=step,
                loss=global_avg_loss,
                lr=(extra_metrics or {})["lr"],
                grad_norm=grad_norm,
                **self._speed(step),
            )
        self._last_step = step
        super().log(step, global_avg_loss, global_max_loss, grad_norm, extra_metrics)

    def log_validation(self, loss: float, step: int, extra_metrics: dict[str, Any] | None = None) -> None:
        if self._reports:
            self._worker.record(step=step, valid_loss=loss)
        super().log_validation(loss, step, extra_metrics)

    def _speed(self, step: int) -> dict[str, float]:
        seconds = time.perf_counter() - self.time_last_log
        readers = self.parallel_dims.dp_replicate * self.parallel_dims.dp_shard
        return {
            "tokens_per_second": self.ntokens_since_last_log * readers / seconds,
            "step_time": seconds / (step - self._last_step),
        }


def _leave_steps_to_the_worker(record: logging.LogRecord) -> bool:
    """torchtitan prints a line of its own for each logged step and validation."""
    return not (record.module == "metrics" and record.funcName in ("log", "log_validation"))

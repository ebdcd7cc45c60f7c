"""Every metric that a report may hold, with unit and meaning: docs/metrics.md has the same table.

Both backends use these names, and Worker.record() takes no other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One number of a report."""

    unit: str = ""
    meaning: str


METRICS: dict[str, Metric] = {
    "step": Metric(meaning="Steps done, from 1."),
    "time": Metric(unit="s", meaning="When it was written, since the epoch (UTC)."),
    "attempt": Metric(meaning="The launch that it is from, in a run that was started again; left out in the first."),
    "loss": Metric(unit="nat/token", meaning="Cross entropy of the step, over all tokens of the global batch."),
    "valid_loss": Metric(unit="nat/token", meaning="Cross entropy on held-out data."),
    "test_loss": Metric(unit="nat/token", meaning="Cross entropy on test data, after training."),
    "lr": Metric(meaning="Learning rate of the step."),
    "grad_norm": Metric(meaning="Euclidean norm of the gradient of all parameters, before clipping."),
    "loss_scale": Metric(meaning="Factor on the loss in fp16."),
    "zeros_in_grad": Metric(meaning="Elements of the gradient that are zero."),
    "step_time": Metric(unit="s", meaning="Wall time of a step, without evaluation and saving."),
    "data_time": Metric(unit="s", meaning="Time that a step waits for data, on the reporting rank."),
    "tokens_per_second": Metric(unit="1/s", meaning="Tokens trained on, by all GPUs together."),
    "tokens_per_second_per_gpu": Metric(unit="1/s", meaning="tokens_per_second divided by the number of processes."),
    "tokens_per_second_average": Metric(
        unit="1/s", meaning="tokens_per_second over many reports, without the warm-up."
    ),
    "tflops_per_gpu": Metric(unit="TFLOP/s", meaning="Model FLOPs of the tokens, for each GPU."),
    "mfu": Metric(meaning="Model FLOPs utilization: tflops_per_gpu divided by the accelerator's peak; from 0 to 1."),
    "memory_gib": Metric(
        unit="GiB", meaning="The most memory of any process so far: of its GPU, or resident on a CPU."
    ),
    "moe_imbalance": Metric(meaning="Tokens of the busiest expert over the average expert's, mean of all MoE layers."),
    "moe_load_balancing_loss": Metric(meaning="Auxiliary load-balancing loss, mean of all MoE layers."),
    "moe_seq_load_balancing_loss": Metric(meaning="The same, by sequence."),
    "moe_global_load_balancing_loss": Metric(meaning="The same, over the global batch."),
    "moe_z_loss": Metric(meaning="Router z-loss, mean of all MoE layers."),
    "mtp_N_loss": Metric(unit="nat/token", meaning="Cross entropy of the N-th depth of multi-token prediction."),
}


def is_known(name: str) -> bool:
    """Whether a metric of this name is in the table; N stands for a number there."""
    return name in METRICS or re.sub(r"_\d+_", "_N_", name) in METRICS

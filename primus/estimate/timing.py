"""How long a step takes: computation, what is recomputed, the pipeline's bubble and communication that shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from primus.backends.account import Account
from primus.estimate.rates import Rates
from primus.estimate.traffic import Traffic, traffic
from primus.metrics.flops import FORWARD_AND_BACKWARD, Flops, forward_flops

BACKWARD = 2 / 3
"""Part of the computation behind which gradients and weights travel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds of one step."""

    compute: float
    """Of the model's own FLOPs."""

    recompute: float
    exchange: float
    """Tensor, context and expert parallelism: layers wait for it."""

    bubble: float
    bubble_share: float
    """Idle time of the pipeline over its busy time."""

    pipeline: float
    data: float
    """Of reducing gradients and gathering weights, what does not hide behind the backward pass."""

    tokens: int
    devices: int
    flops_per_token: int

    @property
    def step(self) -> float:
        return self.compute + self.recompute + self.exchange + self.bubble + self.pipeline + self.data

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.step

    @property
    def tflops(self) -> float:
        """Model FLOP/s of one device, in 10^12."""
        return self.tokens_per_second * self.flops_per_token / self.devices / 1e12


def step_time(account: Account, rates: Rates, *, devices: int, per_node: int, flops: Flops | None = None) -> Timing:
    """Of the whole job. The slowest pipeline stage sets the pace."""
    forward = flops or forward_flops(account.shape)
    tokens = account.global_batch * account.shape.sequence
    each = tokens * forward.total * FORWARD_AND_BACKWARD / devices / rates.flops * _imbalance(account)
    again = each / FORWARD_AND_BACKWARD * _recomputed(account, forward)
    found = {kind.group: _seconds(kind, rates, per_node) for kind in traffic(account)}
    exchange = sum(found.get(group, 0.0) for group in ("tensor", "context", "expert", "expert tensor"))
    share = bubble(account)
    data = found.get("data", 0.0) + found.get("data, experts", 0.0)
    return Timing(
        compute=each,
        recompute=again,
        exchange=exchange,
        bubble=share * (each + again + exchange),
        bubble_share=share,
        pipeline=found.get("pipeline", 0.0) + found.get("embedding", 0.0),
        data=max(0.0, data - BACKWARD * each),
        tokens=tokens,
        devices=devices,
        flops_per_token=forward.total * FORWARD_AND_BACKWARD,
    )


def bubble(account: Account) -> float:
    """Of the 1F1B schedule, interleaved or not: Narayanan et al. 2021."""
    return (account.split.pipeline - 1) / (account.split.virtual * account.micro_batches)


def _imbalance(account: Account) -> float:
    """Layers of the largest stage over the mean."""
    layers = [stage.layers for stage in account.stages]
    return max(layers) * len(layers) / sum(layers)


def _recomputed(account: Account, forward: Flops) -> float:
    """Part of the forward pass that runs again."""
    if account.recompute == "none":
        return 0.0
    if account.repeated:
        return account.repeated * (1 - forward.output / forward.total)
    # Without fusion the scores; torchtitan repeats every second product instead, which is more.
    return forward.attention_scores / forward.total


def _seconds(kind: Traffic, rates: Rates, per_node: int) -> float:
    return kind.bytes / (rates.inside if kind.reach <= per_node else rates.network)

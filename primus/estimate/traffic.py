"""Bytes that one device exchanges with its groups in one step, and how far the groups reach. Pure.

A collective counts as what a ring sends from each device: all-gather and reduce-scatter of N bytes among g devices
(g - 1)/g · N, all-reduce twice that, all-to-all (g - 1)/g · N. tests/real/estimate measures it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from primus.backends.account import Account, Exchange, StageMemory
from primus.metrics.shape import Attention


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """One kind of communication."""

    group: str
    what: str
    size: int
    """Devices of a group."""

    bytes: int
    """Of the busiest device, in one step."""

    reach: int
    """Devices from the first to the last of a group, in the order of the ranks: more than a node has means network."""

    overlaps: bool = False
    """Frameworks hide it behind computation, as far as there is some."""


def traffic(account: Account) -> list[Traffic]:
    """Every kind that this layout has."""
    return [each for each in _all(account) if each.size > 1 and each.bytes]


def _all(account: Account) -> Iterator[Traffic]:
    split = account.split
    inner = split.tensor * split.context
    for each in account.exchanges:
        moved = account.micro_batches * max(_inside(account, each, stage) for stage in range(len(account.stages)))
        yield Traffic(group=each.group, what=each.what, size=each.size, bytes=int(moved), reach=each.reach)
    yield Traffic(
        group="context",
        what="keys and values in a ring",
        size=split.context,
        bytes=int(_context(account)),
        reach=inner,
    )
    yield Traffic(
        group="pipeline",
        what="send",
        size=split.pipeline,
        bytes=int(_pipeline(account)),
        reach=inner * split.data * split.pipeline,
    )
    yield Traffic(
        group="embedding",
        what="all-reduce of the shared embedding's gradients",
        size=min(2, split.pipeline) if account.shared_embedding else 1,
        bytes=account.shape.padded_vocabulary * account.shape.hidden // split.tensor * account.gradient_width,
        reach=inner * split.data * split.pipeline,
    )
    dense, experts = _data_groups(account)
    for group, size, routed in (("data", dense, False), ("data, experts", experts, True)):
        yield Traffic(
            group=group,
            what=_DATA[account.sharding],
            size=size,
            bytes=int(max(_data(account, stage, size, routed=routed) for stage in account.stages)),
            reach=inner * split.data,
            overlaps=True,
        )


_DATA = {
    "none": "all-reduce of gradients",
    "optimizer": "reduce-scatter of gradients + all-gather of weights",
    "weights": "all-gather of weights + reduce-scatter of gradients",
}


def _inside(account: Account, each: Exchange, number: int) -> float:
    """Bytes of one micro-batch on one stage."""
    stage, last = account.stages[number], number == (0 if account.folded else len(account.stages) - 1)
    layers = each.dense * (stage.layers - stage.sparse_layers) + each.sparse * stage.sparse_layers
    ends = (each.first if number == 0 else 0) + (each.last if last else 0)
    return layers + ends + (each.prediction * account.shape.prediction_depths if last else 0)


def _context(account: Account) -> float:
    attention, split = account.shape.attention, account.split
    if isinstance(attention, Attention):
        numbers = 2 * attention.key_value_heads * attention.head_size
    else:
        numbers = attention.heads * (attention.plain_size + attention.rotary_size + attention.value_size)
    tokens = account.micro_batch * account.shape.sequence / split.context
    once = (split.context - 1) * tokens * numbers * account.width / split.tensor
    layers = max(stage.layers for stage in account.stages)
    return once * (3 + account.repeated) * layers * account.micro_batches


def _pipeline(account: Account) -> float:
    """Every boundary between stages is passed forward and backward; one device has the first, one the last stage."""
    split = account.split
    tokens = account.micro_batch * account.shape.sequence / split.context / (split.tensor if split.sequence else 1)
    boundaries = 2 * split.virtual
    if split.pipeline == 2:
        boundaries -= 2 if account.folded else 1
    return boundaries * tokens * account.shape.hidden * account.width * account.micro_batches


def _data_groups(account: Account) -> tuple[int, int]:
    """Devices that share gradients: of dense weights, of experts."""
    split = account.split
    everyone = split.data * split.context
    return everyone, max(1, everyone * split.tensor // (split.expert * split.expert_tensor))


def _data(account: Account, stage: StageMemory, size: int, *, routed: bool) -> float:
    part, elements = _part(size), stage.experts if routed else stage.dense
    if account.sharding == "none":
        return 2 * part * elements * account.gradient_width
    if account.sharding == "optimizer":
        return part * elements * (account.gradient_width + account.weight_width)
    replicas = account.split.replicate
    shards = max(1, size // replicas)
    gathered = account.gathers * elements
    if not routed and stage is account.stages[0 if account.folded else -1]:
        gathered -= account.gathered_once * account.reductions
    inside = _part(shards) * (gathered * account.weight_width + account.reductions * elements * account.gradient_width)
    between = 2 * _part(replicas) * elements / shards * account.gradient_width * account.reductions
    return inside + between


def _part(size: int) -> float:
    return (size - 1) / size

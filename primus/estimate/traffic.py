"""Bytes that one device exchanges with its groups in one step, and how far the groups reach. Pure.

A collective counts as what a ring moves through each device: all-gather and reduce-scatter of N bytes among g devices
(g - 1)/g · N, all-reduce twice that, all-to-all (g - 1)/g · N.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from primus.backends.account import Account, StageMemory
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
    return [each for each in _all(account) if each.size > 1]


def _all(account: Account) -> Iterator[Traffic]:
    split, stage = account.split, max(account.stages, key=lambda each: each.layers)
    inner = split.tensor * split.context
    yield Traffic(
        group="tensor",
        what="all-gather + reduce-scatter" if split.sequence else "all-reduce",
        size=split.tensor,
        bytes=int(_tensor(account, stage)),
        reach=split.tensor,
    )
    yield Traffic(
        group="context",
        what="keys and values in a ring",
        size=split.context,
        bytes=int(_context(account, stage)),
        reach=inner,
    )
    yield Traffic(
        group="expert",
        what="all-to-all",
        size=split.expert,
        bytes=int(_expert(account, stage)),
        reach=split.expert * split.expert_tensor,
    )
    yield Traffic(
        group="pipeline",
        what="send and receive",
        size=split.pipeline,
        bytes=int(_pipeline(account)),
        reach=inner * split.data * split.pipeline,
    )
    dense, experts = _data_groups(account)
    heaviest = max(account.stages, key=lambda each: each.dense + each.experts)
    for group, size, elements in (("data", dense, heaviest.dense), ("data, experts", experts, heaviest.experts)):
        yield Traffic(
            group=group,
            what=_DATA[account.sharding],
            size=size if elements else 1,
            bytes=int(_data(account, elements, size)),
            reach=inner * split.data,
            overlaps=True,
        )


_DATA = {
    "none": "all-reduce of gradients",
    "optimizer": "reduce-scatter of gradients + all-gather of weights",
    "weights": "all-gather of weights + reduce-scatter of gradients",
}


def _data_groups(account: Account) -> tuple[int, int]:
    """Devices that share gradients: of dense weights, of experts."""
    split = account.split
    everyone = split.data * split.context
    return everyone, max(1, everyone * split.tensor // (split.expert * split.expert_tensor))


def _hidden(account: Account) -> float:
    """Bytes of one micro-batch between two layers, of all its tokens."""
    tokens = account.micro_batch * account.shape.sequence / account.split.context
    return tokens * account.shape.hidden * account.width


def _again(account: Account, extra: int) -> int:
    """The forward pass' part, once more where layers are recomputed."""
    return extra if account.recompute == "full" else 0


def _tensor(account: Account, stage: StageMemory) -> float:
    split = account.split
    units = 8 + _again(account, 4)
    if split.sequence and not account.inputs_kept_whole:
        units += 2
    dense = stage.layers - stage.sparse_layers
    # Experts exchange their tokens by themselves: attention alone communicates here.
    layers = dense + stage.sparse_layers / 2
    # Embedding and logits.
    ends = 2 * (2 if len(account.stages) == 1 else 1)
    return _part(split.tensor) * _hidden(account) * account.micro_batches * (layers * units + ends)


def _context(account: Account, stage: StageMemory) -> float:
    attention, split = account.shape.attention, account.split
    if isinstance(attention, Attention):
        numbers = 2 * attention.key_value_heads * attention.head_size
    else:
        numbers = attention.heads * (attention.plain_size + attention.rotary_size + attention.value_size)
    tokens = account.micro_batch * account.shape.sequence / split.context
    once = (split.context - 1) * tokens * numbers * account.width / split.tensor
    return once * (3 + _again(account, 1)) * stage.layers * account.micro_batches


def _expert(account: Account, stage: StageMemory) -> float:
    experts = account.shape.experts
    if experts is None:
        return 0.0
    sent = _hidden(account) / account.split.tensor * experts.active * _part(account.split.expert)
    return sent * (4 + _again(account, 2)) * max(each.sparse_layers for each in account.stages) * account.micro_batches


def _pipeline(account: Account) -> float:
    split = account.split
    each = _hidden(account) / (split.tensor if split.sequence else 1)
    return 2 * split.virtual * each * account.micro_batches


def _data(account: Account, elements: int, size: int) -> float:
    part = _part(size)
    if account.sharding == "none":
        return 2 * part * elements * account.gradient_width
    if account.sharding == "optimizer":
        return part * elements * (account.gradient_width + account.weight_width)
    replicas = account.split.replicate
    shards = max(1, size // replicas)
    inside = (
        _part(shards)
        * elements
        * (account.gathers * account.weight_width + account.reductions * account.gradient_width)
    )
    between = 2 * _part(replicas) * elements / shards * account.gradient_width * account.reductions
    return inside + between


def _part(size: int) -> float:
    return (size - 1) / size

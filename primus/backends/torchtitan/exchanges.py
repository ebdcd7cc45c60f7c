"""What the ranks of a torchtitan run send each other inside the model, in tensor and expert parallelism: the bytes of
one micro-batch. account.py hands it to the estimate; tests/real/estimate measures it. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from primus.backends.account import Exchange
from primus.backends.torchtitan.layout import Layout
from primus.metrics.shape import ModelShape

FLOAT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """Share of the layers in which each runs again before the backward pass."""

    gathers: float
    sums: float
    exchanges: float
    """All-to-all."""


KEEP_EXCHANGED = frozenset({"llama4", "deepseek_v3", "gpt_oss"})
"""Families in which recomputation by operation keeps the results of all-to-all, besides those of reduce-scatter."""


def repeated(family: str, mode: str, option: str) -> Repeated:
    """Of activation_checkpoint's mode and selective_ac_option."""
    if mode == "selective" and not option.isdigit():
        return Repeated(gathers=1, sums=0, exchanges=0 if family in KEEP_EXCHANGED else 1)
    share = {"full": 1.0, "selective": 1 / int(option) if option.isdigit() else 0.0}.get(mode, 0.0)
    return Repeated(gathers=share, sums=share, exchanges=share)


def exchanges(layout: Layout, shape: ModelShape, *, tokens: float, width: int, again: Repeated) -> tuple[Exchange, ...]:
    """Of every group; `tokens` are those of one micro-batch after context parallelism."""
    found = [_tensor(layout, shape, tokens, width, again)]
    if shape.experts is not None and layout.expert > 1:
        found += _experts(layout, shape, tokens, width, again)
    return tuple(found)


def _tensor(layout: Layout, shape: ModelShape, tokens: float, width: int, again: Repeated) -> Exchange:
    size = layout.tensor
    part = (size - 1) / size * tokens
    # Each half of a layer gathers what goes in and sums up what comes out, and does the opposite backward.
    half = 4 + again.gathers + again.sums
    dense, sparse = 2 * half, half
    if shape.experts is not None:
        # Gradients of the input are summed up before they are divided, in both products of the shared experts.
        sparse += half - 1 + (4 if shape.experts.shared_size else 0)
        sparse += 2 * shape.experts.active if layout.expert == 1 else 0
    moved = part * shape.hidden * width
    # Logits: the largest, the right one and the sum of each token, in float32.
    return Exchange(
        group="tensor",
        what="all-gather + reduce-scatter",
        size=size,
        reach=size,
        dense=moved * dense,
        sparse=moved * sparse,
        first=2 * moved,
        last=2 * moved + 6 * FLOAT * part,
    )


def _experts(layout: Layout, shape: ModelShape, tokens: float, width: int, again: Repeated) -> list[Exchange]:
    """There and back, forward and backward. Tokens are divided where experts are not: with expert tensor parallelism
    every rank sends all of them, and sums up their gradients."""
    assert shape.experts is not None
    size, inner = layout.expert, layout.expert_tensor
    visits = tokens * shape.experts.active * shape.hidden * width
    sent = visits / (layout.tensor if inner == 1 else 1)
    there = (size - 1) / size * sent * (4 + 2 * again.exchanges)
    return [
        Exchange(group="expert", what="all-to-all", size=size, reach=size * inner, sparse=there),
        Exchange(
            group="expert tensor",
            what="all-reduce of gradients",
            size=inner,
            reach=inner,
            sparse=2 * (inner - 1) / inner * visits,
        ),
    ]

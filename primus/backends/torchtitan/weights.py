"""The weights of one rank of a torchtitan run: the size of each, and what tensor and expert parallelism and FSDP
divide. memory.py counts their bytes. No torch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from primus.backends.torchtitan.layout import V_SCHEDULES, Layout
from primus.backends.torchtitan.settings import Settings
from primus.metrics.shape import Attention, ModelShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """One parameter of the model."""

    rows: int
    """Its first dimension, which FSDP divides."""

    rest: int = 1
    """The product of the others."""

    tensor: str = ""
    """What tensor parallelism divides: `rows`, `rest` or nothing."""

    expert: bool = False
    """Routed experts: rows are experts, columns are what FSDP divides when there are more ranks than experts."""

    columns: int = 1
    """The second dimension of routed experts."""

    def numel(self, layout: Layout) -> int:
        """On one rank, gathered from FSDP."""
        return self._rows(layout) * self._rest(layout)

    def sharded(self, layout: Layout, rank: int = 0) -> int:
        """On one rank of those that FSDP divides the weights among: equal parts of the rows, but for the last."""
        ranks = layout.shard * layout.context
        if not self.expert or layout.expert == 1:
            return _part(self._rows(layout), ranks, rank) * self._rest(layout)
        shards = ranks * layout.tensor // (layout.expert * layout.expert_tensor)
        rank = rank * shards // ranks
        if shards * layout.expert <= self.rows:
            return _part(self._rows(layout), shards, rank) * self._rest(layout)
        columns = self.columns // (layout.expert_tensor if self.tensor == "columns" else 1)
        return self._rows(layout) * _part(columns, shards, rank) * (self._rest(layout) // columns)

    def _rows(self, layout: Layout) -> int:
        if self.expert:
            return self.rows // layout.expert
        return _part(self.rows, layout.tensor, 0) if self.tensor == "rows" else self.rows

    def _rest(self, layout: Layout) -> int:
        if self.expert:
            # Without expert parallelism, tensor parallelism divides the experts' weights like the others.
            return self.rest // (layout.expert_tensor if layout.expert > 1 else layout.tensor)
        return self.rest // layout.tensor if self.tensor == "rest" else self.rest


def _part(size: int, parts: int, rank: int) -> int:
    share = math.ceil(size / parts)
    return max(0, min(share, size - rank * share))


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One pipeline stage of the model."""

    layers: tuple[int, ...]
    first: bool
    last: bool


def stages_of(settings: Settings, layout: Layout, layers: int) -> list[list[Stage]]:
    """The stages of each pipeline rank."""
    first = int(settings["parallelism.pipeline_parallel_first_stage_less_layers"])
    last = int(settings["parallelism.pipeline_parallel_last_stage_less_layers"])
    count = _stage_count(settings, layout, layers + first + last)
    found = []
    start = 0
    each, extra = divmod(layers + first + last, count)
    for index in range(count):
        size = each + (index < extra)
        if count > 1:
            size -= (first if index == 0 else 0) + (last if index == count - 1 else 0)
        else:
            size = layers
        own = tuple(range(start, min(start + max(0, size), layers)))
        found.append(Stage(layers=own, first=index == 0, last=index == count - 1))
        start += len(own)
    return [[found[index] for index in _own(layout, rank, count)] for rank in range(layout.pipeline)]


def _stage_count(settings: Settings, layout: Layout, weighted: int) -> int:
    if layout.pipeline == 1:
        return 1
    per_stage = settings["parallelism.pipeline_parallel_layers_per_stage"]
    if per_stage is not None:
        return math.ceil(weighted / int(per_stage))
    single = layout.schedule.lower() in ("1f1b", "gpipe", "pipelineschedulesingle")
    return layout.pipeline * (1 if single else 2)


def _own(layout: Layout, rank: int, count: int) -> Sequence[int]:
    if layout.schedule.lower() in V_SCHEDULES and count > 1:
        return (rank, count - 1 - rank)
    return range(rank, count, layout.pipeline)


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """What FSDP gathers as one, and how many like it there are."""

    weights: list[Weight]
    count: int = 1

    def gathered(self, layout: Layout, *, experts: bool | None = None) -> int:
        """Elements of one, on one rank; of all weights, or of those that are or are not routed experts."""
        return sum(each.numel(layout) for each in self.weights if experts is None or each.expert == experts)

    def sharded(self, layout: Layout, rank: int) -> int:
        return sum(weight.sharded(layout, rank) for weight in self.weights)


def stage_modules(shape: ModelShape, family: str, sizes: Mapping[str, Any], stages: Sequence[Stage]) -> list[Module]:
    """Every parameter of the stages of a rank."""
    found = []
    if any(stage.first for stage in stages):
        found.append(Module(weights=[Weight(rows=shape.vocabulary, rest=shape.hidden, tensor="rows")]))
    kinds = Counter(shape.layers[index].experts for stage in stages for index in stage.layers)
    for sparse, count in kinds.items():
        found.append(Module(weights=layer_weights(shape, family, sizes, sparse=sparse), count=count))
    if any(stage.last for stage in stages):
        output = [] if shape.tied else [Weight(rows=shape.vocabulary, rest=shape.hidden, tensor="rows")]
        found.append(Module(weights=[Weight(rows=shape.hidden), *output]))
    return found


def layer_weights(shape: ModelShape, family: str, sizes: Mapping[str, Any], *, sparse: bool) -> list[Weight]:
    hidden, biased = shape.hidden, family == "gpt_oss"
    found = [Weight(rows=hidden)] * 2 + _attention(shape, sizes, biased=biased)
    if not sparse or shape.experts is None:
        return found + _feed_forward(hidden, shape.feed_forward)
    experts = shape.experts
    found.append(Weight(rows=experts.count, rest=hidden))
    if biased or sizes.get("moe_args.gate_bias"):
        found.append(Weight(rows=experts.count))
    if experts.shared_size:
        found += _feed_forward(hidden, experts.shared_size)
    return found + _experts(experts.count, experts.size, hidden, biased=biased)


def _attention(shape: ModelShape, sizes: Mapping[str, Any], *, biased: bool) -> list[Weight]:
    hidden, part = shape.hidden, shape.attention
    if isinstance(part, Attention):
        query, key = part.heads * part.head_size, part.key_value_heads * part.head_size
        rows = [Weight(rows=size, rest=hidden, tensor="rows") for size in (query, key, key)]
        found = [*rows, Weight(rows=hidden, rest=query, tensor="rest")]
        if biased:
            found += [Weight(rows=size, tensor="rows") for size in (query, key, key, part.heads)]
            found.append(Weight(rows=hidden))
        return found + ([Weight(rows=part.head_size)] * 2 if sizes.get("qk_norm") else [])
    query = part.heads * (part.plain_size + part.rotary_size)
    up = part.heads * (part.plain_size + part.value_size)
    if part.query_rank is None:
        found = [Weight(rows=query, rest=hidden, tensor="rows")]
    else:
        found = [
            Weight(rows=part.query_rank, rest=hidden),
            Weight(rows=part.query_rank),
            Weight(rows=query, rest=part.query_rank, tensor="rows"),
        ]
    return [
        *found,
        Weight(rows=part.key_value_rank + part.rotary_size, rest=hidden),
        Weight(rows=part.key_value_rank),
        Weight(rows=up, rest=part.key_value_rank, tensor="rows"),
        Weight(rows=hidden, rest=part.heads * part.value_size, tensor="rest"),
    ]


def _feed_forward(hidden: int, size: int) -> list[Weight]:
    into = Weight(rows=size, rest=hidden, tensor="rows")
    return [into, Weight(rows=hidden, rest=size, tensor="rest"), into]


def _experts(count: int, size: int, hidden: int, *, biased: bool) -> list[Weight]:
    into = Weight(rows=count, rest=size * hidden, columns=size, tensor="columns", expert=True)
    out = Weight(rows=count, rest=hidden * size, columns=hidden, expert=True)
    if not biased:
        return [into, out, into]
    return [
        Weight(rows=count, rest=2 * size * hidden, columns=2 * size, tensor="columns", expert=True),
        Weight(rows=count, rest=2 * size, columns=2 * size, tensor="columns", expert=True),
        out,
        Weight(rows=count, rest=hidden, columns=hidden, expert=True),
    ]

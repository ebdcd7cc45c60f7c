"""What the processes of a Megatron run send each other inside the model, in tensor and expert parallelism: the bytes of
one micro-batch. account.py hands it to the estimate; tests/real/estimate measures it. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from primus.backends.account import Exchange
from primus.backends.megatron.layout import Layout
from primus.backends.megatron.parameters import Values
from primus.backends.megatron.weights import Implementation
from primus.metrics.shape import Attention, LatentAttention, ModelShape

FLOAT = 4


@dataclass(frozen=True, slots=True)
class Moved:
    """Numbers of one token that move in a part of a layer."""

    forward: float = 0
    backward: float = 0

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.forward + other.forward, self.backward + other.backward)

    def total(self, repeated: float) -> float:
        """With a share of the forward pass once more."""
        return self.forward * (1 + repeated) + self.backward


def exchanges(
    values: Values, layout: Layout, shape: ModelShape, implementation: Implementation, *, repeated: float, width: int
) -> tuple[Exchange, ...]:
    """Of every group; `repeated` is the share of the layers that run again."""
    tokens = int(values["micro_batch_size"]) * shape.sequence / layout.context
    modules = values["recompute_modules"] or () if values["recompute_granularity"] == "selective" else ()
    found = [_tensor(values, layout, shape, implementation, tokens, width, repeated, modules)]
    if shape.experts is not None:
        again = 1.0 if "moe" in modules else repeated
        found += _experts(values, layout, shape, tokens / layout.tensor, width, again)
    return tuple(found)


def _tensor(
    values: Values,
    layout: Layout,
    shape: ModelShape,
    implementation: Implementation,
    tokens: float,
    width: int,
    repeated: float,
    modules: list[str] | tuple[str, ...],
) -> Exchange:
    size, hidden = layout.tensor, shape.hidden
    sequence = bool(values["sequence_parallel"]) and size > 1
    part = (size - 1) / size * tokens
    # What goes into a pair of products is gathered, once more for the weights' gradients; what comes out is summed up.
    products = Moved(2 * hidden, 3 * hidden) if sequence else Moved(2 * hidden, 2 * hidden)
    if isinstance(shape.attention, LatentAttention):
        attention = _latent(shape.attention, hidden, local=implementation == "local", sequence=sequence)
    else:
        attention = products + _shared_heads(shape.attention, size)
    dense = attention.total(repeated) + products.total(1 if "mlp" in modules else repeated)
    sparse = attention.total(repeated)
    if shape.experts is not None and shape.experts.shared_size:
        sparse += products.total(1 if {"moe", "shared_experts"} & set(modules) else repeated)
    # Logits: the largest, the right one and the sum of each token, in float32.
    loss = 6 * FLOAT * tokens * (size - 1) / size
    first, last = part * 2 * hidden * width, part * (3 if sequence else 2) * hidden * width + loss
    layer = sparse if shape.layers[-1].experts else dense
    # A depth joins two vectors: a product of twice the width, whose result is gathered.
    joint = Moved(3 * hidden, 5 * hidden) if sequence else Moved(hidden, 4 * hidden)
    return Exchange(
        group="tensor",
        what="all-gather + reduce-scatter" if sequence else "all-reduce",
        size=size,
        reach=size,
        dense=part * dense * width,
        sparse=part * sparse * width,
        first=first,
        last=last,
        prediction=part * (layer + joint.total(repeated)) * width + first + last,
    )


def _shared_heads(attention: Attention, size: int) -> Moved:
    """With fewer keys and values than processes, all processes gather all of them."""
    if attention.key_value_heads >= size:
        return Moved()
    joined = (attention.heads + 2 * attention.key_value_heads) * attention.head_size
    return Moved(joined, joined)


def _latent(attention: LatentAttention, hidden: int, *, local: bool, sequence: bool) -> Moved:
    """Transformer Engine's layers project down on every process; the local ones divide that product, too."""
    query, rank, rotary = attention.query_rank or 0, attention.key_value_rank, attention.rotary_size
    latents = query + rank
    direct = attention.query_rank is None and not local
    if sequence:
        found = Moved(hidden + latents + rotary, hidden + 2 * latents + rotary)
        if local:
            found += Moved(2 * hidden + latents + rotary, 4 * hidden + latents + rotary)
        return found + (Moved(hidden, 2 * hidden) if direct else Moved())
    found = Moved(2 * hidden, 2 * latents)
    if local:
        found += Moved(latents + rotary, 4 * hidden)
    return found + (Moved(0, 2 * hidden) if direct else Moved())


def _experts(
    values: Values, layout: Layout, shape: ModelShape, tokens: float, width: int, repeated: float
) -> list[Exchange]:
    """`tokens` of one process. There and back, forward and backward; with each visit its weight in float32."""
    assert shape.experts is not None
    times = 2 + repeated
    size, inner = layout.expert, layout.expert_tensor
    numbers = shape.experts.latent_size or shape.hidden
    if values["moe_token_dispatcher_type"] == "allgather":
        everyone, count = size * inner, shape.experts.count
        # With each token its weight for every expert, and whether it goes there.
        token = 2 * numbers * width * times + count * (FLOAT * times + 1 + repeated)
        moved = (everyone - 1) * tokens * token
        return [_expert("expert", "all-gather + reduce-scatter of all tokens", everyone, everyone, moved, shape)]
    visits = tokens * shape.experts.active * (2 * numbers * width + FLOAT) * times
    gathered = _expert("expert tensor", "all-gather + reduce-scatter", inner, inner, (inner - 1) * visits, shape)
    return [_expert("expert", "all-to-all", size, size * inner, (size - 1) / size * visits, shape), gathered]


def _expert(group: str, what: str, size: int, reach: int, moved: float, shape: ModelShape) -> Exchange:
    prediction = moved if shape.layers[-1].experts else 0
    return Exchange(group=group, what=what, size=size, reach=reach, sparse=moved, prediction=prediction)

"""Model FLOPs of one token, by part, after PaLM (Chowdhery et al. 2022, appendix B). docs/metrics.md has the formula.

The meter divides them by the time; `primus estimate` shows the parts. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from primus.metrics.shape import Attention, Experts, LatentAttention, Layer, ModelShape

FORWARD_AND_BACKWARD = 3
"""The backward pass multiplies each matrix twice, for the gradients of input and weight; the forward pass once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flops:
    """Floating-point operations of one token, where a multiplication and an addition are two."""

    attention_projections: int
    """Into queries, keys and values (through the latent vectors, for MLA), and out."""

    attention_scores: int
    """Queries times keys, and weights times values."""

    feed_forward: int
    """The dense feed-forward parts."""

    router: int
    experts: int
    """Routed experts that the token visits, and shared ones."""

    output: int
    """Logits."""

    prediction: int
    """Multi-token prediction: layers, projections and logits."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def forward_flops(shape: ModelShape) -> Flops:
    """FLOPs of the forward pass for one token, averaged over a sequence of `shape.sequence` tokens."""
    dense = sum(not layer.experts for layer in shape.layers)
    sparse = len(shape.layers) - dense
    output = 2 * shape.hidden * shape.vocabulary
    return Flops(
        attention_projections=len(shape.layers) * _projections(shape),
        attention_scores=sum(_scores(shape, layer) for layer in shape.layers),
        feed_forward=dense * _feed_forward(shape, shape.hidden, shape.feed_forward),
        router=sparse * _router(shape) if sparse else 0,
        experts=sparse * _experts(shape) if sparse else 0,
        output=output,
        prediction=shape.prediction_depths * (_prediction_layer(shape) + output),
    )


def training_flops(shape: ModelShape) -> int:
    """FLOPs of one token in training: forward and backward, without what is recomputed to save memory."""
    return FORWARD_AND_BACKWARD * forward_flops(shape).total


def _projections(shape: ModelShape) -> int:
    attention = shape.attention
    if isinstance(attention, LatentAttention):
        return _latent_projections(shape.hidden, attention)
    query = attention.heads * attention.head_size
    key_value = 2 * attention.key_value_heads * attention.head_size
    gate = query if attention.gated else 0
    return 2 * shape.hidden * (query + key_value + gate) + 2 * query * shape.hidden


def _latent_projections(hidden: int, attention: LatentAttention) -> int:
    query = attention.heads * (attention.plain_size + attention.rotary_size)
    rank = attention.query_rank
    queries = hidden * query if rank is None else hidden * rank + rank * query
    down = hidden * (attention.key_value_rank + attention.rotary_size)
    up = attention.key_value_rank * attention.heads * (attention.plain_size + attention.value_size)
    out = attention.heads * attention.value_size * hidden
    return 2 * (queries + down + up + out)


def _scores(shape: ModelShape, layer: Layer) -> int:
    """A causal mask halves nothing here, as in the paper; a window does, since it is part of the architecture."""
    seen = shape.sequence if layer.window is None else min(layer.window, shape.sequence)
    return 2 * seen * _score_width(shape.attention)


def _score_width(attention: Attention | LatentAttention) -> int:
    if isinstance(attention, LatentAttention):
        return attention.heads * (attention.plain_size + attention.rotary_size + attention.value_size)
    return 2 * attention.heads * attention.head_size


def _feed_forward(shape: ModelShape, width: int, inner: int) -> int:
    return 2 * (3 if shape.gated else 2) * width * inner


def _router(shape: ModelShape) -> int:
    return 2 * shape.hidden * _of(shape).count


def _experts(shape: ModelShape) -> int:
    experts = _of(shape)
    width = experts.latent_size or shape.hidden
    routed = experts.active * _feed_forward(shape, width, experts.size)
    shared = _feed_forward(shape, shape.hidden, experts.shared_size)
    gate = 2 * shape.hidden if experts.shared_gated else 0
    latent = 2 * 2 * shape.hidden * experts.latent_size if experts.latent_size else 0
    return routed + shared + gate + latent


def _of(shape: ModelShape) -> Experts:
    if shape.experts is None:
        raise ValueError("a layer has experts, but the model's shape does not say which")
    return shape.experts


def _prediction_layer(shape: ModelShape) -> int:
    """One depth of multi-token prediction without its logits: a projection of two hidden vectors into one, and a
    layer like the last."""
    layer = shape.layers[-1]
    dense = _feed_forward(shape, shape.hidden, shape.feed_forward)
    inner = _router(shape) + _experts(shape) if layer.experts else dense
    return 2 * 2 * shape.hidden * shape.hidden + _projections(shape) + _scores(shape, layer) + inner

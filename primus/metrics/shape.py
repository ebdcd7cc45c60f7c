"""The architecture of a model as numbers: what its FLOPs follow from. Pure.

Each backend makes one from its own settings (`shape_of` in its shape.py); flops.py computes with it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """Attention with a key and value for each head, or for each group of heads (GQA)."""

    heads: int
    """Query heads."""

    key_value_heads: int
    """Equal to `heads` without grouped queries."""

    head_size: int

    gated: bool = False
    """The output is multiplied by a learnt gate, as large as the queries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentAttention:
    """Multi-latent attention (MLA), which projects queries, keys and values down to a latent vector and up again."""

    heads: int

    query_rank: int | None
    """Size of the queries' latent vector; None projects queries in one step."""

    key_value_rank: int
    plain_size: int
    """Part of a query or key head without rotary embedding."""

    rotary_size: int
    """Part of a query or key head with rotary embedding; all key heads share it."""

    value_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Experts:
    """The feed-forward part of a mixture-of-experts (MoE) layer."""

    count: int
    """Routed experts."""

    active: int
    """Routed experts that one token visits."""

    size: int
    """Inner size of one routed expert."""

    shared_size: int = 0
    """Inner size of all shared experts together; 0 means none."""

    shared_gated: bool = False
    """The shared experts' output is weighted by a learnt number."""

    latent_size: int | None = None
    """Routed experts work on vectors of this size, projected from and to the hidden size; None works on the latter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One transformer layer."""

    experts: bool = False
    """Its feed-forward part is ModelShape.experts, not the dense one."""

    window: int | None = None
    """Tokens that one token attends to, itself included; None attends to the whole sequence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """A decoder-only language model, and the sequence that it is trained on."""

    layers: tuple[Layer, ...]
    hidden: int
    attention: Attention | LatentAttention
    feed_forward: int
    """Inner size of the dense feed-forward part."""

    gated: bool
    """Feed-forward parts and experts have a gate (SwiGLU), so three matrices, not two."""

    experts: Experts | None = None
    """Of the layers that have some."""

    vocabulary: int
    """Tokens, without padding."""

    padded_vocabulary: int
    """Rows of the embedding; larger where the layout needs a multiple."""

    tied: bool
    """The output layer uses the embedding's weight."""

    prediction_depths: int = 0
    """Depths of multi-token prediction (MTP), each with one more layer, a projection and an output."""

    sequence: int
    """Tokens of one sequence. Attention is causal: a token sees those before it."""

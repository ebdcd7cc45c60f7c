"""How many parameters a torchtitan model has, from its sizes alone: no torch, no model built.

`primus models` shows it, and works out from it what memory a run needs. tests/real/configs builds the real models and
finds the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primus.backends.torchtitan.shape import shape_of
from primus.metrics.shape import Attention, Experts, ModelShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """Parameters of a model."""

    total: int
    active: int
    """Those that one token uses."""

    largest_layer: int


def count_parameters(family: str, sizes: Mapping[str, Any]) -> Parameters:
    """The parameters of a model of this family (`model.name`); `sizes` as flavors.sizes_of gives them."""
    shape = shape_of(family, sizes, sequence=1)
    biased = family == "gpt_oss"
    norms = 2 * shape.hidden + _attention_norms(shape, sizes)
    dense = _attention(shape, biased) + norms + 3 * shape.hidden * shape.feed_forward
    sparse = active = 0
    if shape.experts is not None:
        common = _attention(shape, biased) + norms + _router(shape, shape.experts, sizes, biased)
        expert = _expert(shape, shape.experts, biased)
        sparse = common + shape.experts.count * expert
        active = common + shape.experts.active * expert
    marks = [layer.experts for layer in shape.layers]
    around = shape.vocabulary * shape.hidden * (1 if shape.tied else 2) + shape.hidden
    return Parameters(
        total=around + sum(sparse if mark else dense for mark in marks),
        active=around + sum(active if mark else dense for mark in marks),
        largest_layer=max(sparse if mark else dense for mark in marks),
    )


def parts_of(family: str, sizes: Mapping[str, Any]) -> dict[str, int]:
    """The parameters of a model, by part; together they are all."""
    shape = shape_of(family, sizes, sequence=1)
    biased, layers = family == "gpt_oss", len(shape.layers)
    sparse = sum(layer.experts for layer in shape.layers)
    found = {
        "embedding": shape.vocabulary * shape.hidden,
        "attention": layers * _attention(shape, biased),
        "feed-forward": (layers - sparse) * 3 * shape.hidden * shape.feed_forward,
        "norms": layers * (2 * shape.hidden + _attention_norms(shape, sizes)) + shape.hidden,
        "output": 0 if shape.tied else shape.vocabulary * shape.hidden,
    }
    if shape.experts is not None:
        shared = 3 * shape.hidden * shape.experts.shared_size
        found["feed-forward"] += sparse * shared
        found["router"] = sparse * (_router(shape, shape.experts, sizes, biased) - shared)
        found["experts"] = sparse * shape.experts.count * _expert(shape, shape.experts, biased)
    return found


def _attention(shape: ModelShape, biased: bool) -> int:
    hidden, part = shape.hidden, shape.attention
    if isinstance(part, Attention):
        query, key_value = part.heads * part.head_size, part.key_value_heads * part.head_size
        # gpt-oss gives every projection a bias, and every head a sink.
        extra = query + 2 * key_value + hidden + part.heads if biased else 0
        return hidden * (query + 2 * key_value) + query * hidden + extra
    query = part.heads * (part.plain_size + part.rotary_size)
    queries = hidden * query if part.query_rank is None else part.query_rank * (hidden + query)
    keys_values = hidden * (part.key_value_rank + part.rotary_size)
    keys_values += part.key_value_rank * part.heads * (part.plain_size + part.value_size)
    return queries + keys_values + part.heads * part.value_size * hidden


def _attention_norms(shape: ModelShape, sizes: Mapping[str, Any]) -> int:
    part = shape.attention
    if isinstance(part, Attention):
        # Qwen3's norms of queries and keys have weights, Llama 4's do not.
        return 2 * part.head_size if sizes.get("qk_norm") else 0
    return (part.query_rank or 0) + part.key_value_rank


def _router(shape: ModelShape, experts: Experts, sizes: Mapping[str, Any], biased: bool) -> int:
    """The router, and the experts that every token visits."""
    bias = experts.count if biased or sizes.get("moe_args.gate_bias") else 0
    return shape.hidden * experts.count + bias + 3 * shape.hidden * experts.shared_size


def _expert(shape: ModelShape, experts: Experts, biased: bool) -> int:
    return 3 * shape.hidden * experts.size + (2 * experts.size + shape.hidden if biased else 0)

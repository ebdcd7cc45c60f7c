"""The shape of a torchtitan model from its sizes alone (flavors.json, or the model's arguments), for FLOPs: no torch.

Each function repeats what the model's own code in torchtitan 0.2.2 makes of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from primus.metrics.shape import Attention, Experts, LatentAttention, Layer, ModelShape

Sizes = Mapping[str, Any]
"""Arguments of a model by dotted name, as flavors.sizes_of gives them."""


def shape_of(family: str, sizes: Sizes, *, sequence: int) -> ModelShape:
    """The shape of a model of one of torchtitan's families (`model.name`), trained on sequences of that many tokens."""
    layers, attention, feed_forward, experts = _FAMILIES[family](sizes)
    return ModelShape(
        layers=layers,
        hidden=sizes["dim"],
        attention=attention,
        feed_forward=feed_forward,
        gated=True,
        experts=experts,
        vocabulary=sizes["vocab_size"],
        padded_vocabulary=sizes["vocab_size"],
        tied=bool(sizes.get("enable_weight_tying", False)),
        sequence=sequence,
    )


_Parts = tuple[tuple[Layer, ...], Attention | LatentAttention, int, Experts | None]


def _llama3(sizes: Sizes) -> _Parts:
    return (Layer(),) * sizes["n_layers"], _attention(sizes), _llama_inner(sizes), None


def _llama4(sizes: Sizes) -> _Parts:
    step, every = sizes["interleave_moe_layer_step"], sizes["every_n_layers_nope"]
    # Only flex attention keeps to the blocks; otherwise those layers see the whole sequence.
    block = sizes["fixed_attn_block_size"] if every and sizes["attn_type"] == "flex" else None
    layers = tuple(
        Layer(experts=(index + 1) % step == 0, window=None if every and index % every == 0 else block)
        for index in range(sizes["n_layers"])
    )
    inner = _llama_unrounded(sizes)
    if sizes["auto_scale_hidden_dim"]:
        inner = int(inner / (sizes["moe_args.top_k"] + sizes["moe_args.num_shared_experts"]))
    return layers, _attention(sizes), _llama_inner(sizes), _experts(sizes, _rounded(inner, sizes["multiple_of"]))


def _deepseek_v3(sizes: Sizes) -> _Parts:
    layers = tuple(Layer(experts=index >= sizes["n_dense_layers"]) for index in range(sizes["n_layers"]))
    attention = LatentAttention(
        heads=sizes["n_heads"],
        query_rank=sizes["q_lora_rank"] or None,
        key_value_rank=sizes["kv_lora_rank"],
        plain_size=sizes["qk_nope_head_dim"],
        rotary_size=sizes["qk_rope_head_dim"],
        value_size=sizes["v_head_dim"],
    )
    return layers, attention, sizes["inter_dim"], _experts(sizes, sizes["moe_inter_dim"])


def _qwen3(sizes: Sizes) -> _Parts:
    sparse = bool(sizes["moe_enabled"])
    layers = (Layer(experts=sparse),) * sizes["n_layers"]
    experts = _experts(sizes, sizes["moe_inter_dim"]) if sparse else None
    return layers, _attention(sizes, sizes["head_dim"]), sizes["hidden_dim"], experts


def _gpt_oss(sizes: Sizes) -> _Parts:
    window = sizes["sliding_window_size"]
    layers = tuple(Layer(experts=True, window=None if index % 2 else window) for index in range(sizes["n_layers"]))
    inner = sizes["moe_inter_dim"]
    return layers, _attention(sizes, sizes["head_dim"]), inner, _experts(sizes, inner)


_FAMILIES: dict[str, Callable[[Sizes], _Parts]] = {
    "llama3": _llama3,
    "llama4": _llama4,
    "deepseek_v3": _deepseek_v3,
    "qwen3": _qwen3,
    "gpt_oss": _gpt_oss,
}


def _attention(sizes: Sizes, head_size: int | None = None) -> Attention:
    heads = sizes["n_heads"]
    return Attention(
        heads=heads,
        key_value_heads=sizes["n_kv_heads"] or heads,
        head_size=head_size or sizes["dim"] // heads,
    )


def _experts(sizes: Sizes, inner: int) -> Experts:
    return Experts(
        count=sizes["moe_args.num_experts"],
        active=sizes["moe_args.top_k"],
        size=inner,
        shared_size=inner * sizes["moe_args.num_shared_experts"],
    )


def _llama_inner(sizes: Sizes) -> int:
    return _rounded(_llama_unrounded(sizes), sizes["multiple_of"])


def _llama_unrounded(sizes: Sizes) -> int:
    """Inner size of Llama's feed-forward part: two thirds of four times the width, times the model's factor."""
    inner = int(2 * 4 * sizes["dim"] / 3)
    factor = sizes["ffn_dim_multiplier"]
    return inner if factor is None else int(factor * inner)


def _rounded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple

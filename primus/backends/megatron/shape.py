"""The shape of a Megatron model from its keys alone, for FLOPs and memory: no torch, no model built.

The worker makes it for the meter, `primus estimate` for its tables.
"""

from __future__ import annotations

from primus.backends.megatron.parameters import Values, head_size, key_value_heads
from primus.backends.megatron.patterns import expand_pattern
from primus.metrics.shape import Attention, Experts, LatentAttention, Layer, ModelShape


def shape_of(values: Values, *, vocabulary: int | None = None) -> ModelShape:
    """The shape of the model that `values` (see complete_values) describes, trained on `seq_length` tokens.

    `vocabulary` is the tokenizer's size where the worker knows it; otherwise vocab_size counts.
    """
    tokens = int(vocabulary or values["vocab_size"])
    multiple = int(values["make_vocab_size_divisible_by"]) * int(values["tensor_model_parallel_size"])
    return ModelShape(
        layers=_layers(values),
        hidden=int(values["hidden_size"]),
        attention=_latent_attention(values) if values["multi_latent_attention"] else _attention(values),
        feed_forward=int(values["ffn_hidden_size"]),
        gated=bool(values["swiglu"] or values["quick_geglu"]),
        experts=_experts(values) if values["num_experts"] else None,
        vocabulary=tokens,
        padded_vocabulary=-(-tokens // multiple) * multiple,
        tied=not values["untie_embeddings_and_output_weights"],
        prediction_depths=int(values["mtp_num_layers"] or 0),
        sequence=int(values["seq_length"]),
    )


def _layers(values: Values) -> tuple[Layer, ...]:
    count = int(values["num_layers"])
    sparse = expand_pattern(values["moe_layer_freq"], count) if values["num_experts"] else [0] * count
    windows = _windows(values, count)
    kinds = {pair: Layer(experts=bool(pair[0]), window=pair[1]) for pair in set(zip(sparse, windows, strict=True))}
    return tuple(kinds[pair] for pair in zip(sparse, windows, strict=True))


def _windows(values: Values, count: int) -> list[int | None]:
    """What each layer sees. Megatron counts the tokens before one, and uses the window in all layers but every N-th."""
    if not values["window_size"] or values["window_size"][0] < 0:
        return [None] * count
    window, skip = int(values["window_size"][0]) + 1, values["window_attn_skip_freq"]
    if skip is None:
        return [window] * count
    if isinstance(skip, int):
        return [None if layer % skip == 0 else window for layer in range(1, count + 1)]
    return [window if mark else None for mark in expand_pattern(skip, count)]


def _attention(values: Values) -> Attention:
    return Attention(
        heads=int(values["num_attention_heads"]),
        key_value_heads=key_value_heads(values),
        head_size=head_size(values),
        gated=bool(values["attention_output_gate"]),
    )


def _latent_attention(values: Values) -> LatentAttention:
    rank = values["q_lora_rank"]
    return LatentAttention(
        heads=int(values["num_attention_heads"]),
        query_rank=None if rank is None else int(rank),
        key_value_rank=int(values["kv_lora_rank"]),
        plain_size=int(values["qk_head_dim"]),
        rotary_size=int(values["qk_pos_emb_head_dim"]),
        value_size=int(values["v_head_dim"]),
    )


def _experts(values: Values) -> Experts:
    shared, latent = values["moe_shared_expert_intermediate_size"], values["moe_latent_size"]
    return Experts(
        count=int(values["num_experts"]),
        active=int(values["moe_router_topk"]),
        size=int(values["moe_ffn_hidden_size"] or values["ffn_hidden_size"]),
        shared_size=int(shared or 0),
        shared_gated=bool(shared and values["moe_shared_expert_gate"]),
        latent_size=None if latent is None else int(latent),
    )

"""How many parameters a Megatron model has, part by part, from its keys alone: no torch, no model built.

`primus models` shows it; memory.py works out from it what each process holds. tests/real/configs builds the real
GPTModel of every preset and finds the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primus.backends.megatron.patterns import expand_pattern
from primus.backends.megatron.tokenizer import BYTES
from primus.experiment import Schema

Values = Mapping[str, Any]
"""Every key of the schema with its value: see complete_values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Parameters of one transformer layer."""

    attention: int
    norms: int
    """With those inside the attention."""

    feed_forward: int
    """What every token passes: the dense feed-forward part, or the shared expert."""

    router: int = 0
    bias: int = 0
    """Of the experts, to balance their load: a buffer to Megatron, a parameter on model cards."""

    experts: int = 0
    """All routed experts."""

    experts_per_token: int = 0
    """The routed experts that one token visits."""

    @property
    def total(self) -> int:
        return self.attention + self.norms + self.feed_forward + self.router + self.bias + self.experts

    @property
    def active(self) -> int:
        return self.total - self.experts + self.experts_per_token


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """Parameters of a whole model. The vocabulary is counted without Megatron's padding."""

    embedding: int
    """Tokens, and learned positions."""

    layers: tuple[Layer, ...]
    final_norm: int
    output: int
    """0 when the output layer uses the embedding."""

    prediction: tuple[Layer, ...] = ()
    """The layer inside each depth of multi-token prediction."""

    prediction_extra: int = 0
    """Norms and projection of one such depth around its layer."""

    @property
    def total(self) -> int:
        """Without multi-token prediction, as model cards count."""
        return self.embedding + sum(layer.total for layer in self.layers) + self.final_norm + self.output

    @property
    def active(self) -> int:
        """Those that one token uses, without multi-token prediction."""
        return self.total - sum(layer.experts - layer.experts_per_token for layer in self.layers)

    @property
    def multi_token_prediction(self) -> int:
        return sum(layer.total + self.prediction_extra for layer in self.prediction)


def complete_values(given: Mapping[str, Any], schema: Schema) -> Values:
    """The plain values of an experiment, and for every other key what the backend takes instead."""
    chosen = {key: value for key, value in given.items() if value is not None}
    values = {name: key.default for name, key in schema.keys.items()} | chosen
    if values["ffn_hidden_size"] is None and values["hidden_size"] is not None:
        # Megatron-LM keeps the size of the whole when the activation has a gate.
        hidden = int(values["hidden_size"])
        values["ffn_hidden_size"] = int(4 * hidden * 2 / 3 / 64) * 64 if values["swiglu"] else 4 * hidden
    if values["vocab_size"] is None and values["tokenizer_type"] == "ByteTokenizer":
        values["vocab_size"] = BYTES + 1
    if values["max_position_embeddings"] is None:
        values["max_position_embeddings"] = values["seq_length"]
    if values["multi_latent_attention"] and "normalization" not in chosen:
        values["normalization"] = "RMSNorm"
    if "accumulate_allreduce_grads_in_fp32" not in chosen:
        values["accumulate_allreduce_grads_in_fp32"] = bool(values["bf16"])
    return values


def count_parameters(values: Values) -> Parameters:
    """The parameters of the model that `values` describes."""
    hidden = int(values["hidden_size"])
    tokens = int(values["vocab_size"]) * hidden
    positions = int(values["max_position_embeddings"]) * hidden
    layers = _layers(values)
    norm = _norm(values, hidden)
    return Parameters(
        embedding=tokens + (positions if values["position_embedding_type"] == "learned_absolute" else 0),
        layers=layers,
        final_norm=norm,
        output=tokens if values["untie_embeddings_and_output_weights"] else 0,
        prediction=layers[-1:] * int(values["mtp_num_layers"] or 0),
        prediction_extra=3 * norm + 2 * hidden * hidden,
    )


def head_size(values: Values) -> int:
    """Dimension of one attention head, without multi-latent attention."""
    return int(values["kv_channels"] or values["hidden_size"] // values["num_attention_heads"])


def key_value_heads(values: Values) -> int:
    """Key and value heads, without multi-latent attention."""
    return int(values["num_query_groups"] if values["group_query_attention"] else values["num_attention_heads"])


def _layers(values: Values) -> tuple[Layer, ...]:
    dense = Layer(
        attention=_attention(values),
        norms=2 * _norm(values, int(values["hidden_size"])) + _attention_norms(values),
        feed_forward=_feed_forward(values, values["ffn_hidden_size"]),
    )
    if not values["num_experts"]:
        return (dense,) * int(values["num_layers"])
    sparse = _sparse(values, dense)
    pattern = expand_pattern(values["moe_layer_freq"], int(values["num_layers"]))
    return tuple(sparse if mark else dense for mark in pattern)


def _sparse(values: Values, dense: Layer) -> Layer:
    hidden = int(values["hidden_size"])
    shared_size = values["moe_shared_expert_intermediate_size"]
    shared = _feed_forward(values, shared_size) if shared_size else 0
    gate = hidden if shared_size and values["moe_shared_expert_gate"] else 0
    expert = _feed_forward(values, values["moe_ffn_hidden_size"] or values["ffn_hidden_size"])
    return Layer(
        attention=dense.attention,
        norms=dense.norms,
        feed_forward=shared + gate,
        router=int(values["num_experts"]) * hidden,
        bias=int(values["num_experts"]) if values["moe_router_enable_expert_bias"] else 0,
        experts=expert * int(values["num_experts"]),
        experts_per_token=expert * int(values["moe_router_topk"]),
    )


def _attention(values: Values) -> int:
    if values["multi_latent_attention"]:
        return _latent_attention(values)
    hidden, head = int(values["hidden_size"]), head_size(values)
    query = head * int(values["num_attention_heads"])
    # Queries, keys, values, and a gate as large as the queries where there is one.
    into = query + 2 * head * key_value_heads(values) + (query if values["attention_output_gate"] else 0)
    weights = hidden * into + query * hidden
    biases = (into if values["add_bias_linear"] or values["add_qkv_bias"] else 0) + _bias(values, hidden)
    return weights + biases


def _latent_attention(values: Values) -> int:
    hidden, heads = int(values["hidden_size"]), int(values["num_attention_heads"])
    rotated = int(values["qk_pos_emb_head_dim"])
    plain, value = int(values["qk_head_dim"]), int(values["v_head_dim"])
    latent, query_latent = int(values["kv_lora_rank"]), values["q_lora_rank"]
    query = heads * (plain + rotated)
    queries = hidden * query if query_latent is None else int(query_latent) * (hidden + query)
    keys_values = hidden * (latent + rotated) + latent * heads * (plain + value)
    return queries + keys_values + heads * value * hidden + _bias(values, hidden)


def _attention_norms(values: Values) -> int:
    """Norms of queries and keys, or of what they are compressed to."""
    if not values["qk_layernorm"]:
        return 0
    if values["multi_latent_attention"]:
        return _norm(values, int(values["kv_lora_rank"]) + int(values["q_lora_rank"] or 0))
    return 2 * _norm(values, head_size(values))


def _feed_forward(values: Values, size: int) -> int:
    hidden = int(values["hidden_size"])
    into = 2 * size if values["swiglu"] or values["quick_geglu"] else size
    return hidden * into + size * hidden + _bias(values, into) + _bias(values, hidden)


def _norm(values: Values, size: int) -> int:
    return size if values["normalization"] == "RMSNorm" else 2 * size


def _bias(values: Values, size: int) -> int:
    return size if values["add_bias_linear"] else 0

"""What the backward pass of a Megatron model waits for: the bytes of every tensor that autograd keeps, from the keys.

docs/estimate.md has the formulas. tests/real/estimate measures them on megatron.core's own layers (`local`); those of
Transformer Engine with fused attention (`engine`) differ in what is said there.
"""

from __future__ import annotations

from dataclasses import dataclass

from primus.backends.megatron.layout import Layout
from primus.backends.megatron.parameters import Values, head_size, key_value_heads
from primus.backends.megatron.weights import Implementation, padded_vocabulary

FLOAT = 4
INDEX = 8
"""Bytes of a token's or an expert's number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Micro:
    """One micro-batch on one process, and how its numbers are kept."""

    values: Values
    tokens: int
    """Of all sequences, after context parallelism."""

    sequence: int
    tensor: int
    part: int
    """Processes that the tokens between the tensor parallel products are divided among."""

    width: int
    """Bytes of a number in the model's own precision."""

    implementation: Implementation
    recomputed: frozenset[str]
    """Modules of a layer that run again in the backward pass."""

    visits: float
    """Tokens that arrive at this process' experts, over tokens here: as many as are sent away, with an even load."""

    @property
    def local(self) -> bool:
        return self.implementation == "local"

    @property
    def own(self) -> float:
        """Tokens between the products."""
        return self.tokens / self.part

    def norm(self, size: int, tokens: float) -> float:
        """The input; and without a fused kernel in float32, with the result before the weight. A statistic or two."""
        statistics = FLOAT * (1 if self.values["normalization"] == "RMSNorm" else 2)
        if not self.local:
            return tokens * (self.width * size + statistics)
        inputs = 2 * FLOAT * size if self.values["normalization"] == "RMSNorm" else self.width * size
        return tokens * (inputs + statistics)


def micro_batch(
    values: Values, layout: Layout, implementation: Implementation, *, visits: float | None = None
) -> Micro:
    """The experts have an even load, unless it is said how many `visits` there are."""
    sequence = int(values["seq_length"]) // layout.context
    selective = values["recompute_granularity"] == "selective"
    even = float(values["moe_router_topk"]) if values["num_experts"] else 0.0
    sequence_parallel = bool(values["sequence_parallel"]) and layout.tensor > 1
    return Micro(
        values=values,
        tokens=int(values["micro_batch_size"]) * sequence,
        sequence=sequence,
        tensor=layout.tensor,
        part=layout.tensor if sequence_parallel else 1,
        width=2 if values["bf16"] or values["fp16"] else FLOAT,
        implementation=implementation,
        recomputed=frozenset(values["recompute_modules"] or ["core_attn"]) if selective else frozenset(),
        visits=even if visits is None else visits,
    )


def layer_bytes(micro: Micro, *, sparse: bool, layout: Layout) -> float:
    """What one layer keeps, unless all of it is recomputed."""
    hidden = int(micro.values["hidden_size"])
    dropped = _dropout(micro) * 2
    norms = 2 * micro.norm(hidden, micro.own)
    if "layernorm" in micro.recomputed:
        norms = 2 * micro.own * hidden * micro.width
    latent = micro.values["multi_latent_attention"]
    attention = _latent(micro) if latent else _attention(micro)
    inner = _experts(micro, layout) if sparse else _dense(micro)
    return norms + attention + inner + dropped


def checkpoint_bytes(micro: Micro) -> float:
    """What a recomputed layer, or group of layers, keeps: what went into it."""
    split = micro.tensor if micro.values["distribute_saved_activations"] else micro.part
    return micro.tokens / split * int(micro.values["hidden_size"]) * micro.width


def shared_bytes(micro: Micro) -> float:
    """Once for each micro-batch: numbers of the tokens on the first stage are counted on all."""
    return micro.tokens * INDEX + _mask(micro)


def embedding_bytes(micro: Micro) -> float:
    """Dropout of the embedding, and numbers of learned positions."""
    learned = micro.values["position_embedding_type"] == "learned_absolute"
    return _dropout(micro) + (INDEX * micro.sequence if learned else 0)


def once_bytes(micro: Micro, *, full: bool) -> float:
    """Angles of the rotary embedding that recomputed layers keep together."""
    if not full or (micro.values["position_embedding_type"] != "rope" and not micro.values["multi_latent_attention"]):
        return 0.0
    latent = micro.values["multi_latent_attention"]
    return 0.0 if latent else FLOAT * micro.sequence * _rotated(micro)


def output_bytes(micro: Micro, layout: Layout) -> float:
    """The final norm, the logits and the loss."""
    hidden = int(micro.values["hidden_size"])
    keep = micro.norm(hidden, micro.own) + micro.own * hidden * micro.width
    return keep + _loss(micro, layout)


def prediction_bytes(micro: Micro, layout: Layout, layer: float | None) -> float:
    """One depth of multi-token prediction: two norms, a projection of both, a layer, its norm and another loss.
    Without `layer` the depth is recomputed: its two inputs stay."""
    hidden = int(micro.values["hidden_size"])
    around = 2 * micro.own * hidden * micro.width
    if layer is not None:
        around += 3 * micro.norm(hidden, micro.own) + layer
    output = micro.own * hidden * micro.width
    # The numbers of the tokens are shifted, and two masks of the loss are float32.
    return around + output + _loss(micro, layout) + micro.tokens * (INDEX + 2 * FLOAT)


def logits_workspace(micro: Micro, layout: Layout) -> float:
    """Besides what is kept, while the loss is computed: the logits in the model's own precision."""
    return micro.tokens * micro.width * padded_vocabulary(micro.values, layout) / layout.tensor


def _loss(micro: Micro, layout: Layout) -> float:
    """Probabilities in float32; a mark and a number for the right token."""
    return micro.tokens * (FLOAT * padded_vocabulary(micro.values, layout) / layout.tensor + 1 + INDEX)


def _mask(micro: Micro) -> float:
    return float(micro.sequence**2) if micro.local else 0.0


def _dropout(micro: Micro) -> float:
    """What hidden dropout left: a mask; without a GPU in the numbers' own width."""
    if not micro.values["hidden_dropout"]:
        return 0.0
    return micro.own * int(micro.values["hidden_size"]) * (micro.width if micro.local else 1)


def _rotated(micro: Micro) -> int:
    """Size of the rotated part of a head."""
    if micro.values["multi_latent_attention"]:
        return int(micro.values["qk_pos_emb_head_dim"])
    return int(head_size(micro.values) * float(micro.values["rotary_percent"]))


def _angles(micro: Micro) -> float:
    """Cosines and sines for queries and for keys, in every layer; a fused kernel keeps none."""
    positions = micro.values["multi_latent_attention"] or micro.values["position_embedding_type"] == "rope"
    if not positions or micro.values["apply_rope_fusion"]:
        return 0.0
    return 4 * micro.sequence * _rotated(micro) * micro.width


def _attention(micro: Micro) -> float:
    values, width = micro.values, micro.width
    heads, groups, head = int(values["num_attention_heads"]), key_value_heads(values), head_size(values)
    query, key = heads * head / micro.tensor, groups * head / micro.tensor
    # The product of all three projections: whoever keeps a part of it keeps all of it.
    joined = query + 2 * key
    inputs = 0.0 if "layernorm" in micro.recomputed else micro.own * int(values["hidden_size"]) * width
    kept = inputs + _angles(micro) + micro.tokens * query * width
    if values["qk_layernorm"]:
        kept += micro.tokens * _head_norms(micro, query, key, grouped=groups < heads)
    if micro.local and "core_attn" not in micro.recomputed:
        return kept + micro.tokens * _core(micro, query, joined, grouped=groups < heads) * width + _scores(micro)
    moved = query + key if values["position_embedding_type"] == "rope" or values["qk_layernorm"] else 0.0
    statistics = 0.0 if "core_attn" in micro.recomputed else _statistics(micro)
    return kept + micro.tokens * (moved + joined) * width + statistics


def _core(micro: Micro, query: float, joined: float, *, grouped: bool) -> float:
    """Numbers that go into attention, for one token. Keys and values are repeated for the heads of a group."""
    if grouped:
        return 3 * query
    moved = micro.values["position_embedding_type"] == "rope" or micro.values["qk_layernorm"]
    return joined + (2 * query if moved else 0)


def _head_norms(micro: Micro, query: float, key: float, *, grouped: bool) -> float:
    """Bytes that the norms of queries and keys keep of one token."""
    values = micro.values
    simple = values["normalization"] == "RMSNorm"
    statistics = FLOAT * (1 if simple else 2) * (query + key) / head_size(values)
    results = FLOAT * (query + key) if micro.local and simple else 0.0
    if not micro.local:
        return statistics + micro.width * (query if grouped else 0)
    if micro.width < FLOAT and simple:
        return statistics + results + FLOAT * (query + key)
    # Not copied to float32: keys, and queries without groups, stay in the joined product.
    if not grouped:
        return statistics + results
    # Where values are kept as they came, the joined product is counted with them. Queries of one group stay in it.
    joined = 0.0 if "core_attn" in micro.recomputed else query + 2 * key
    own = 0.0 if key_value_heads(values) == micro.tensor else query
    return statistics + results + micro.width * (own + joined)


def _latent(micro: Micro) -> float:
    values, width = micro.values, micro.width
    heads, tensor = int(values["num_attention_heads"]), micro.tensor
    rotated, plain, value = (int(values[key]) for key in ("qk_pos_emb_head_dim", "qk_head_dim", "v_head_dim"))
    rank, query_rank = int(values["kv_lora_rank"]), int(values["q_lora_rank"] or 0)
    inputs = micro.own * int(values["hidden_size"]) * width
    kept = inputs + _angles(micro)
    if values["qk_layernorm"]:
        if query_rank:
            kept += micro.norm(query_rank, micro.own)
        kept += micro.norm(rank, micro.own)
        if micro.local and width == FLOAT:
            kept += micro.own * rotated * width  # positions stand in the same tensor as what is normalized
            # What is normalized here is a part of what all processes have gathered.
            kept += (micro.tokens - micro.own) * (query_rank + rank + rotated) * width
        kept += micro.own * (query_rank + rank) * width
    else:
        # The parts that stay here of what all processes have gathered keep all of it.
        kept += (micro.tokens if micro.local else micro.own) * (query_rank + rank + rotated) * width
    query, out = heads * (plain + rotated) / tensor, heads * value / tensor
    if "mla_up_proj" not in micro.recomputed:
        kept += micro.tokens * (2 * query + out) * width
    if "core_attn" not in micro.recomputed:
        kept += _scores(micro) if micro.local else _statistics(micro)
    return kept + micro.tokens * out * width


def _statistics(micro: Micro) -> float:
    """Of the softmax in fused attention."""
    if micro.local:
        return 0.0
    return micro.tokens * FLOAT * int(micro.values["num_attention_heads"]) / micro.tensor


def _scores(micro: Micro) -> float:
    """Weights of all pairs of tokens: in float32, once more in the model's precision, and dropout's."""
    heads = int(micro.values["num_attention_heads"]) / micro.tensor
    each = FLOAT + (micro.width if micro.width < FLOAT else 0)
    if micro.values["attention_dropout"]:
        each += micro.width + (micro.width if micro.width == FLOAT else 0)
    return micro.tokens * micro.sequence * heads * each


def _dense(micro: Micro) -> float:
    hidden, size = int(micro.values["hidden_size"]), int(micro.values["ffn_hidden_size"])
    inputs = micro.own * hidden * micro.width
    if "mlp" in micro.recomputed:
        return inputs
    inputs = 0.0 if "layernorm" in micro.recomputed else inputs
    return inputs + micro.tokens / micro.tensor * _inner(micro, size)


def _inner(micro: Micro, size: int) -> float:
    """Between the two products of a feed-forward part, for one token: before and after the activation function."""
    values = micro.values
    if values["quick_geglu"]:
        return 6 * size * micro.width
    if values["swiglu"]:
        # Without fusion, the halves stand beside each other once more.
        return (3 if values["bias_swiglu_fusion"] else 5) * size * micro.width
    return 2 * size * micro.width


def _experts(micro: Micro, layout: Layout) -> float:
    values, width = micro.values, micro.width
    hidden, count = int(values["hidden_size"]), int(values["num_experts"])
    inputs = micro.own * hidden * width
    if "moe" in micro.recomputed:
        return inputs
    kept = (0.0 if "layernorm" in micro.recomputed else inputs) + _router(micro, count)
    size = int(values["moe_ffn_hidden_size"] or values["ffn_hidden_size"]) / layout.expert_tensor
    inner = _inner(micro, 1) * size
    if "moe_act" in micro.recomputed:
        inner -= size * width
    # Processes of one expert tensor parallel group hold all tokens of the group.
    arriving = micro.own * layout.expert_tensor * micro.visits
    kept += arriving * (hidden * width + inner + FLOAT)
    shared = int(values["moe_shared_expert_intermediate_size"] or 0)
    if shared and "shared_experts" not in micro.recomputed:
        kept += micro.tokens / micro.tensor * _inner(micro, shared)
    return kept


def _router(micro: Micro, count: int) -> float:
    """Scores and choices of every token, in float32 and as numbers of experts, and the map of who goes where."""
    values = micro.values
    active = int(values["moe_router_topk"])
    each = 2 * INDEX * active + FLOAT * active + count * (1 + FLOAT)
    if values["moe_router_score_function"] == "sigmoid":
        each += FLOAT * count + FLOAT * active
    if "aux_loss" in str(values["moe_router_load_balancing_type"]):
        each += FLOAT * count + INDEX * active
    return micro.own * each

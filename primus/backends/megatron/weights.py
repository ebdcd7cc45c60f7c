"""The weights that one process of a Megatron run holds, in the order in which megatron.core registers them: no torch.

buffers.py lays them out as the gradient buffers do; memory.py counts their bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from primus.backends.megatron.layout import Layout
from primus.backends.megatron.parameters import Values, head_size, key_value_heads
from primus.backends.megatron.patterns import expand_pattern
from primus.backends.megatron.pipeline_layout import read_layout

Implementation = Literal["local", "engine"]
"""Megatron's own layers, which run anywhere, or Transformer Engine's, which need a GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """One parameter on one process."""

    numel: int
    expert: bool = False
    """Of a routed expert: its copies stand on other processes than those of the rest."""

    shared: bool = False
    """The embedding's, which several pipeline stages hold: its gradients have a bucket of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """What one process runs as one virtual stage."""

    layers: tuple[int, ...]
    first: bool = False
    last: bool = False
    prediction: bool = False
    """It holds the layers of multi-token prediction."""


def stage_chunks(values: Values, layout: Layout) -> list[list[Chunk]]:
    """The chunks of each pipeline stage."""
    written = values["pipeline_model_parallel_layout"]
    if written:
        read = read_layout(written)
        sizes = [stage.count("decoder") for stage in read]
        prediction = next((index for index, stage in enumerate(read) if "mtp" in stage), len(read) - 1)
    else:
        sizes = _chunk_sizes(values, layout)
        prediction = len(sizes) - 1
    stages: list[list[Chunk]] = [[] for _ in range(layout.pipeline)]
    start = 0
    for index, size in enumerate(sizes):
        chunk = Chunk(
            layers=tuple(range(start, start + size)),
            first=index == 0,
            last=index == len(sizes) - 1,
            prediction=bool(values["mtp_num_layers"]) and index == prediction,
        )
        stages[index % layout.pipeline].append(chunk)
        start += size
    return stages


def _chunk_sizes(values: Values, layout: Layout) -> list[int]:
    """Layers of each chunk of the model, in the order of the layers."""
    layers, pipeline, virtual = int(values["num_layers"]), layout.pipeline, layout.virtual or 1
    first, last = values["decoder_first_pipeline_num_layers"], values["decoder_last_pipeline_num_layers"]
    if first is not None or last is not None:
        ends = (first is not None) + (last is not None)
        middle = (layers - (first or 0) - (last or 0)) // max(1, pipeline - ends)
        row = [first or middle, *[middle] * (pipeline - 2), last or middle]
        return [size // virtual for size in row] * virtual
    embedding = bool(values["account_for_embedding_in_pipeline_split"])
    loss = bool(values["account_for_loss_in_pipeline_split"])
    sizes = [(layers + embedding + loss) // (pipeline * virtual)] * (pipeline * virtual)
    sizes[0] -= embedding
    sizes[-1] -= loss
    return sizes


ALIGNED = 64
"""Elements of which a parameter in a buffer begins at a multiple."""


def chunk_weights(
    values: Values, layout: Layout, chunk: Chunk, implementation: Implementation, *, joined: bool = False
) -> list[Weight]:
    """Every parameter of a chunk on one process. `joined`: neighbours that leave no gap in a buffer count as one."""
    found = []
    if chunk.first or chunk.prediction:
        found += _embedding(values, layout, chunk)
    sparse = sparse_layers(values)
    marks = {sparse[index] for index in chunk.layers} | ({sparse[-1]} if chunk.prediction else set())
    kinds = {mark: _layer(values, layout, implementation, sparse=mark, joined=joined) for mark in marks}
    if joined:
        kinds = {mark: _joined(kind) for mark, kind in kinds.items()}
    for index in chunk.layers:
        found += kinds[sparse[index]]
    if chunk.last:
        found += _norm(values, int(values["hidden_size"]))
    if chunk.prediction:
        found += _prediction(values, layout, kinds[sparse[-1]]) * int(values["mtp_num_layers"])
    if chunk.last:
        found += _output(values, layout, chunk)
    return _joined(found) if joined else found


def _joined(weights: list[Weight]) -> list[Weight]:
    """Dense and routed weights stand in buffers of their own, a shared one in a bucket of its own."""
    found: list[Weight] = []
    for routed in (False, True):
        size = 0
        for weight in (each for each in weights if each.expert == routed):
            if size and (weight.shared or size % ALIGNED):
                found.append(Weight(numel=size, expert=routed))
                size = 0
            if weight.shared:
                found.append(weight)
            else:
                size += weight.numel
        if size:
            found.append(Weight(numel=size, expert=routed))
    return found


def sparse_layers(values: Values) -> list[bool]:
    """Which layers have experts."""
    count = int(values["num_layers"])
    if not values["num_experts"]:
        return [False] * count
    return [bool(mark) for mark in expand_pattern(values["moe_layer_freq"], count)]


def padded_vocabulary(values: Values, layout: Layout) -> int:
    multiple = int(values["make_vocab_size_divisible_by"]) * layout.tensor
    return -(-int(values["vocab_size"]) // multiple) * multiple


def _embedding(values: Values, layout: Layout, chunk: Chunk) -> list[Weight]:
    hidden = int(values["hidden_size"])
    tied = not values["untie_embeddings_and_output_weights"]
    shared = layout.pipeline > 1 and (tied or bool(values["mtp_num_layers"]))
    found = [Weight(numel=padded_vocabulary(values, layout) // layout.tensor * hidden, shared=shared)]
    if values["position_embedding_type"] == "learned_absolute":
        found.append(Weight(numel=int(values["max_position_embeddings"]) * hidden))
    return found


def _output(values: Values, layout: Layout, chunk: Chunk) -> list[Weight]:
    """With a tied embedding, only where the embedding itself is not."""
    tied = not values["untie_embeddings_and_output_weights"]
    if tied and (chunk.first or chunk.prediction):
        return []
    numel = padded_vocabulary(values, layout) // layout.tensor * int(values["hidden_size"])
    return [Weight(numel=numel, shared=tied)]


def _layer(
    values: Values, layout: Layout, implementation: Implementation, *, sparse: bool, joined: bool
) -> list[Weight]:
    hidden, tensor = int(values["hidden_size"]), layout.tensor
    latent = bool(values["multi_latent_attention"])
    attention = _latent(values, tensor, implementation) if latent else _attention(values, tensor)
    found = [*_norm(values, hidden), *attention, *_norm(values, hidden)]
    if not sparse:
        return found + _feed_forward(values, int(values["ffn_hidden_size"]), tensor)
    found.append(Weight(numel=int(values["num_experts"]) * hidden))
    size = int(values["moe_ffn_hidden_size"] or values["ffn_hidden_size"])
    expert = _feed_forward(values, size, layout.expert_tensor, expert=True)
    count = int(values["num_experts"]) // layout.expert
    if joined and all(weight.numel % ALIGNED == 0 for weight in expert):
        found.append(Weight(numel=sum(weight.numel for weight in expert) * count, expert=True))
    else:
        found += expert * count
    if values["moe_shared_expert_intermediate_size"]:
        if values["moe_shared_expert_gate"]:
            found.append(Weight(numel=hidden))
        found += _feed_forward(values, int(values["moe_shared_expert_intermediate_size"]), tensor)
    return found


def _attention(values: Values, tensor: int) -> list[Weight]:
    hidden, head = int(values["hidden_size"]), head_size(values)
    query = head * int(values["num_attention_heads"])
    into = query * (2 if values["attention_output_gate"] else 1) + 2 * head * key_value_heads(values)
    biased, biased_in = bool(values["add_bias_linear"]), bool(values["add_bias_linear"] or values["add_qkv_bias"])
    found = [
        *_linear(query // tensor, hidden, hidden if biased else 0),
        *_linear(hidden, into // tensor, into // tensor if biased_in else 0),
    ]
    return found + (_norm(values, head) * 2 if values["qk_layernorm"] else [])


def _latent(values: Values, tensor: int, implementation: Implementation) -> list[Weight]:
    """Transformer Engine's projections down to the latent vectors are not divided, Megatron's own are."""
    hidden, heads = int(values["hidden_size"]), int(values["num_attention_heads"])
    rotated, plain, value = (int(values[key]) for key in ("qk_pos_emb_head_dim", "qk_head_dim", "v_head_dim"))
    rank, query_rank = int(values["kv_lora_rank"]), values["q_lora_rank"]
    down = tensor if implementation == "local" else 1
    query = heads * (plain + rotated) // tensor
    found = _linear(heads * value // tensor, hidden, hidden if values["add_bias_linear"] else 0)
    if query_rank is None:
        found += _linear(hidden, query, 0)
    else:
        found += [*_linear(hidden, int(query_rank) // down, 0), *_linear(int(query_rank), query, 0)]
    found += _linear(hidden, (rank + rotated) // down, 0)
    found += _linear(rank, heads * (plain + value) // tensor, 0)
    if values["qk_layernorm"]:
        found += [*(_norm(values, int(query_rank)) if query_rank is not None else []), *_norm(values, rank)]
    return found


def _feed_forward(values: Values, size: int, tensor: int, *, expert: bool = False) -> list[Weight]:
    hidden, biased = int(values["hidden_size"]), bool(values["add_bias_linear"])
    into = (2 if values["swiglu"] or values["quick_geglu"] else 1) * size // tensor
    return [
        *_linear(hidden, into, into if biased else 0, expert=expert),
        *_linear(size // tensor, hidden, hidden if biased else 0, expert=expert),
    ]


def _prediction(values: Values, layout: Layout, layer: list[Weight]) -> list[Weight]:
    """One depth: two norms, a projection of two hidden vectors into one, a layer, and its norm."""
    hidden = int(values["hidden_size"])
    norm = _norm(values, hidden)
    return [*norm, *norm, *_linear(2 * hidden, hidden // layout.tensor, 0), *layer, *norm]


def _linear(inputs: int, outputs: int, bias: int, *, expert: bool = False) -> list[Weight]:
    return [
        Weight(numel=inputs * outputs, expert=expert),
        *([Weight(numel=bias, expert=expert)] if bias else []),
    ]


def _norm(values: Values, size: int) -> list[Weight]:
    return [Weight(numel=size)] * (1 if values["normalization"] == "RMSNorm" else 2)

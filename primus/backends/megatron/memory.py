"""What a Megatron run needs of each GPU's memory, worked out from its keys: no torch, nothing allocated.

`primus models` says from it how many GPUs a shipped experiment needs. Weights, gradients and optimizer state follow
Megatron's own sharding. Activations follow Korthikanti et al. 2022 (arXiv:2205.05198), with fused attention, gated
feed-forward and, for experts, an even load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from primus.backends.megatron.layout import Layout, layout_of
from primus.backends.megatron.parameters import Layer, Parameters, Values, count_parameters, head_size, key_value_heads

MOMENTS = 8
"""Bytes of Adam's two float32 moments of one parameter."""

LOGIT = 10
"""Bytes of one logit on the last stage: bfloat16, its float32 copy, and the float32 gradient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes on one GPU. Workspaces of libraries and fragmentation come on top."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate_memory(values: Values, world_size: int) -> Memory:
    """The memory of the pipeline stage that needs the most."""
    return max(stage_memories(values, world_size), key=lambda memory: memory.total)


def stage_memories(values: Values, world_size: int) -> list[Memory]:
    """The memory of one GPU of each pipeline stage."""
    layout = layout_of(values, world_size)
    multiple = int(values["make_vocab_size_divisible_by"]) * layout.tensor
    parameters = count_parameters({**values, "vocab_size": -(-int(values["vocab_size"]) // multiple) * multiple})
    return [_stage_memory(values, layout, parameters, stage) for stage in range(layout.pipeline)]


def stage_layers(values: Values, layout: Layout) -> list[list[int]]:
    """The layers of each pipeline stage, by index."""
    layers, pipeline, virtual = int(values["num_layers"]), layout.pipeline, layout.virtual or 1
    sizes = _chunk_sizes(values, layers, pipeline, virtual)
    stages: list[list[int]] = [[] for _ in range(pipeline)]
    first = 0
    for chunk, size in enumerate(sizes):
        stages[chunk % pipeline].extend(range(first, first + size))
        first += size
    return stages


def _chunk_sizes(values: Values, layers: int, pipeline: int, virtual: int) -> list[int]:
    """Layers of each chunk of the model, in the order of the layers."""
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


def _stage_memory(values: Values, layout: Layout, parameters: Parameters, stage: int) -> Memory:
    own = [parameters.layers[index] for index in stage_layers(values, layout)[stage]]
    last = stage == layout.pipeline - 1
    dense, experts = _stage_parameters(layout, parameters, own, first=stage == 0, last=last)
    half = bool(values["bf16"] or values["fp16"])
    gradient = 2 if half and not values["accumulate_allreduce_grads_in_fp32"] else 4
    # Half-precision weights have a float32 copy in the optimizer.
    optimizer = MOMENTS + (4 if half else 0)
    dense_copies = layout.world_size // (layout.tensor * layout.pipeline)
    expert_copies = layout.world_size // (layout.expert_tensor * layout.expert * layout.pipeline)
    if not values["use_distributed_optimizer"]:
        dense_copies = expert_copies = 1
    return Memory(
        weights=(2 if half else 4) * (dense + experts),
        gradients=gradient * (dense + experts),
        optimizer=optimizer * (dense // dense_copies + experts // max(1, expert_copies)),
        activations=_activations(values, layout, own + list(parameters.prediction if last else ()), stage),
    )


def _stage_parameters(
    layout: Layout, parameters: Parameters, own: Sequence[Layer], *, first: bool, last: bool
) -> tuple[int, int]:
    """Parameters on one GPU of a stage: those that every data parallel process holds, and the routed experts'."""
    layers = [*own, *(parameters.prediction if last else ())]
    split = sum(layer.attention + layer.feed_forward for layer in layers)
    whole = sum(layer.norms + layer.router for layer in layers)
    # The output layer uses the embedding when it has no weight of its own; multi-token prediction uses it always.
    if first or (last and (not parameters.output or parameters.prediction)):
        split += parameters.embedding
    if last:
        split += parameters.output
        whole += parameters.final_norm + len(parameters.prediction) * parameters.prediction_extra
    experts = sum(layer.experts for layer in layers)
    return split // layout.tensor + whole, experts // (layout.expert * layout.expert_tensor)


def _activations(values: Values, layout: Layout, layers: Sequence[Layer], stage: int) -> int:
    """What the backward pass of a stage waits for, with as many micro-batches as the schedule lets in."""
    tokens = int(values["micro_batch_size"]) * int(values["seq_length"]) // layout.context
    per_token = [_layer_activations(values, layer, layout.tensor) for layer in layers]
    boundary = 2 * int(values["hidden_size"]) // (layout.tensor if values["sequence_parallel"] else 1)
    kept, working = 0.0, 0.0
    for index, full in enumerate(per_token):
        recomputed = is_recomputed(values, layout, index, len(per_token))
        kept += boundary if recomputed else full
        working = max(working, full if recomputed else 0.0)
    in_flight = _in_flight(values, layout, stage)
    logits = 0.0
    if stage == layout.pipeline - 1:
        heads = 1 + int(values["mtp_num_layers"] or 0)
        logits = LOGIT * int(values["vocab_size"]) / layout.tensor * heads
    return int(tokens * (kept * in_flight + working + logits))


def is_recomputed(values: Values, layout: Layout, index: int, layers: int) -> bool:
    """Whether the layer at that place of a stage with so many layers is computed again as a whole."""
    if values["recompute_granularity"] != "full":
        return False
    if values["recompute_method"] == "uniform":
        return True
    chunk = max(1, layers // (layout.virtual or 1))
    return index % chunk < int(values["recompute_num_layers"] or 0)


def _in_flight(values: Values, layout: Layout, stage: int) -> float:
    """Micro-batches whose activations a stage holds at once, in units of all its layers."""
    batches = int(values["global_batch_size"]) // (int(values["micro_batch_size"]) * layout.data)
    waiting = layout.pipeline - stage
    if layout.virtual is None or layout.virtual == 1:
        return min(batches, waiting)
    return min(batches, layout.pipeline + (waiting - 1 - stage) / layout.virtual)


def _layer_activations(values: Values, layer: Layer, tensor: int) -> float:
    """Bytes that one token leaves in one layer, in bfloat16, on one GPU."""
    hidden = int(values["hidden_size"])
    # Input and output of both norms.
    norms = 8 * hidden / (tensor if values["sequence_parallel"] else 1)
    return norms + (_attention_activations(values) + _feed_forward_activations(values, layer)) / tensor


def _attention_activations(values: Values) -> int:
    heads = int(values["num_attention_heads"])
    statistics = 4 * heads
    if not values["multi_latent_attention"]:
        head = head_size(values)
        query, key_value = heads * head, key_value_heads(values) * head
        # Queries, keys and values, what comes out, and the softmax's statistics; with norms, their inputs as well.
        inputs = 2 if values["qk_layernorm"] else 1
        return 2 * (query + key_value) * inputs + 2 * key_value + 2 * query + statistics
    latent = int(values["kv_lora_rank"]) + int(values["qk_pos_emb_head_dim"])
    query = heads * (int(values["qk_head_dim"]) + int(values["qk_pos_emb_head_dim"]))
    value = heads * int(values["v_head_dim"])
    # Both latents before and after their norms; queries and keys before and after the rotation; values; the output.
    return 4 * ((values["q_lora_rank"] or 0) + latent) + 8 * query + 2 * value + 2 * value + statistics


def _feed_forward_activations(values: Values, layer: Layer) -> int:
    hidden = int(values["hidden_size"])
    # One number out of the gate and one out of the linear half, and their product.
    width = 6 if values["swiglu"] or values["quick_geglu"] else 4
    if not layer.experts:
        return width * int(values["ffn_hidden_size"])
    expert = int(values["moe_ffn_hidden_size"] or values["ffn_hidden_size"])
    shared = int(values["moe_shared_expert_intermediate_size"] or 0)
    # Each visit of an expert has its own copy of the token, before and after.
    return int(values["moe_router_topk"]) * (4 * hidden + width * expert) + width * shared

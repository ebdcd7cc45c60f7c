"""What a Megatron run needs of each GPU's memory, worked out from its keys: no torch, nothing allocated.

`primus models` says from it how many GPUs a shipped experiment needs, `primus estimate` shows it by pipeline stage.
weights.py, buffers.py and activations.py count the parts; docs/estimate.md has the formulas and the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import add

from primus.backends.account import StageMemory
from primus.backends.megatron import activations
from primus.backends.megatron.activations import Micro, micro_batch
from primus.backends.megatron.buffers import lay_out
from primus.backends.megatron.layout import Layout, layout_of
from primus.backends.megatron.parameters import Values
from primus.backends.megatron.weights import (
    Chunk,
    Implementation,
    chunk_weights,
    sparse_layers,
    stage_chunks,
)

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}


MANY = 1000
"""Layers times experts above which buckets are taken to end between layers: each is then up to 127 elements off."""


def estimate_memory(values: Values, world_size: int) -> StageMemory:
    """The memory of the pipeline stage that needs the most."""
    return max(stage_memories(values, world_size), key=lambda memory: memory.total)


def implementation_of(values: Values) -> Implementation:
    """What the layers are made of on a GPU."""
    return "local" if values["transformer_impl"] == "local" else "engine"


def stage_memories(values: Values, world_size: int, implementation: Implementation | None = None) -> list[StageMemory]:
    """The memory of one GPU of each pipeline stage: of the process whose optimizer owns the most."""
    layout = layout_of(values, world_size)
    kind = implementation or implementation_of(values)
    chunks = stage_chunks(values, layout)
    sparse = sparse_layers(values)
    found: dict[object, StageMemory] = {}
    stages = []
    for stage, own in enumerate(chunks):
        # Stages with the same layers and as many micro-batches are the same.
        like = [(chunk.first, chunk.last, chunk.prediction, [sparse[i] for i in chunk.layers]) for chunk in own]
        key = repr((like, _in_flight(values, layout, stage)))
        if key not in found:
            found[key] = _stage_memory(values, layout, kind, stage, own)
        stages.append(found[key])
    return stages


def stage_layers(values: Values, layout: Layout) -> list[list[int]]:
    """The layers of each pipeline stage, by index."""
    return [[index for chunk in chunks for index in chunk.layers] for chunks in stage_chunks(values, layout)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """Elements of the weights, gradients and optimizer of one stage on one process."""

    dense: int
    """Without padding, and without routed experts."""

    experts: int
    buffered: int
    """With padding, as weights and gradients are kept."""

    owned: tuple[int, ...]
    """Whose optimizer state is here, by rank among the processes that share the dense weights' gradients."""


def stage_elements(
    values: Values, layout: Layout, stage: int, chunks: Sequence[Chunk], implementation: Implementation
) -> Kept:
    """What the real objects of one process hold. Experts' owners are counted by their own, smaller groups."""
    sharded = bool(values["use_distributed_optimizer"])
    instances = int(values["num_distributed_optimizer_instances"] or 1) if sharded else 1
    dense = layout.world_size // (layout.tensor * layout.pipeline) // instances
    expert = layout.world_size // (layout.expert_tensor * layout.expert * layout.pipeline) // instances
    numels = {False: 0, True: 0}
    buffered = 0
    owned = [0] * max(1, dense)
    for index, chunk in enumerate(chunks):
        size = _bucket_size(values, dense * instances) if stage == 0 and index == 0 else None
        many = len(chunk.layers) * int(values["num_experts"] or 1) > MANY * layout.expert
        weights = chunk_weights(values, layout, chunk, implementation, joined=sharded and (many or size is None))
        for routed, ranks in ((False, dense), (True, expert)):
            group = [weight for weight in weights if weight.expert == routed]
            if not group:
                continue
            numels[routed] += sum(weight.numel for weight in group)
            buffer = lay_out(
                group,
                ranks=max(1, ranks),
                sharded=sharded,
                bucket_size=size,
                fast=bool(values["ddp_pad_buckets_for_high_nccl_busbw"]),
            )
            buffered += buffer.numel
            shares = buffer.owned(max(1, ranks)) if sharded else [sum(weight.numel for weight in group)]
            owned = list(map(add, owned, _for_each(len(owned), shares)))
    return Kept(dense=numels[False], experts=numels[True], buffered=buffered, owned=tuple(owned))


def _for_each(ranks: int, shares: Sequence[int]) -> Sequence[int]:
    """A share for each rank, where it may be that several have the same."""
    count = len(shares)
    return shares if count == ranks else [shares[rank * count // ranks] for rank in range(ranks)]


def _bucket_size(values: Values, ranks: int) -> int | None:
    if not values["overlap_grad_reduce"]:
        return None
    return int(values["ddp_bucket_size"] or max(40_000_000, 1_000_000 * ranks))


def weight_bytes(values: Values) -> int:
    return 2 if values["bf16"] or values["fp16"] else 4


def gradient_bytes(values: Values) -> int:
    half = values["fp16"] or values["bf16"]
    return 2 if half and not values["accumulate_allreduce_grads_in_fp32"] else 4


def optimizer_bytes(values: Values) -> int:
    """Of one parameter: Adam's two moments or SGD's one, and a float32 copy of weights in half precision."""
    half = bool(values["bf16"] or values["fp16"])
    if values["optimizer"] == "sgd":
        return 4 + (4 if half else 0)
    if values["use_precision_aware_optimizer"]:
        return sum(BYTES[str(values[key])] for key in ("main_params_dtype", "exp_avg_dtype", "exp_avg_sq_dtype"))
    return 8 + (4 if half else 0)


def _stage_memory(
    values: Values, layout: Layout, implementation: Implementation, stage: int, chunks: Sequence[Chunk]
) -> StageMemory:
    kept = stage_elements(values, layout, stage, chunks, implementation)
    micro = micro_batch(values, layout, implementation)
    batches = _in_flight(values, layout, stage)
    once, working = _chunk_activations(micro, layout, chunks)
    last = chunks[-1].last
    end = _end(micro, layout, chunks[-1])
    worst = 0.0
    if values["num_experts"]:
        heavy = micro_batch(values, layout, implementation, visits=worst_visits(values, layout))
        more, more_working = _chunk_activations(heavy, layout, chunks)
        worst = batches * (more - once) + more_working - working
    return StageMemory(
        dense=kept.dense,
        experts=kept.experts,
        weights=weight_bytes(values) * kept.buffered,
        gradients=gradient_bytes(values) * kept.buffered,
        optimizer=optimizer_bytes(values) * max(kept.owned),
        activations=int(batches * once + end),
        workspace=int(working + (activations.logits_workspace(micro, layout) if last else 0)),
        worst_experts=int(worst),
        in_flight=batches,
        layers=sum(len(chunk.layers) for chunk in chunks),
        sparse_layers=sum(sparse_layers(values)[index] for chunk in chunks for index in chunk.layers),
    )


def worst_visits(values: Values, layout: Layout) -> float:
    """Tokens that all processes of an expert parallel group send to one, over its own tokens."""
    local = int(values["num_experts"]) // layout.expert
    active = int(values["moe_router_topk"])
    factor = values["moe_expert_capacity_factor"]
    if factor is not None:
        return min(float(factor) * active, float(layout.expert * min(active, local)))
    return float(layout.expert * min(active, local))


def _chunk_activations(micro: Micro, layout: Layout, chunks: Sequence[Chunk]) -> tuple[float, float]:
    """What one micro-batch leaves in all layers of a stage; and what is made again at a time."""
    sparse = sparse_layers(micro.values)
    sizes = {mark: activations.layer_bytes(micro, sparse=mark, layout=layout) for mark in set(sparse)}
    kept = activations.shared_bytes(micro) + activations.once_bytes(micro, full=_is_full(micro.values))
    working = 0.0
    for chunk in chunks:
        layers = [sizes[sparse[index]] for index in chunk.layers]
        kept += _kept(micro, layers) + (activations.embedding_bytes(micro) if chunk.first else 0)
        working = max(working, _working(micro.values, layers))
        depths = int(micro.values["mtp_num_layers"] or 0) if chunk.prediction else 0
        again = _is_full(micro.values) and micro.values["recompute_method"] == "uniform"
        layer = None if again else sizes[sparse[-1]]
        kept += depths * activations.prediction_bytes(micro, layout, layer)
    return kept, working


def _end(micro: Micro, layout: Layout, chunk: Chunk) -> float:
    """Of the one micro-batch that the last stage computes the loss of."""
    return activations.output_bytes(micro, layout) if chunk.last else 0.0


def _is_full(values: Values) -> bool:
    return bool(values["recompute_granularity"] == "full")


def _kept(micro: Micro, layers: Sequence[float]) -> float:
    values = micro.values
    if not _is_full(values):
        return sum(layers)
    number = int(values["recompute_num_layers"] or 1)
    boundary = activations.checkpoint_bytes(micro)
    if values["recompute_method"] == "uniform":
        return -(-len(layers) // number) * boundary
    return len(layers[:number]) * boundary + sum(layers[number:])


def _working(values: Values, layers: Sequence[float]) -> float:
    """Layers that are computed again together."""
    if not _is_full(values):
        return 0.0
    number = int(values["recompute_num_layers"] or 1)
    if values["recompute_method"] == "uniform":
        return max((sum(layers[start : start + number]) for start in range(0, len(layers), number)), default=0.0)
    return max(layers[:number], default=0.0)


def is_recomputed(values: Values, layout: Layout, index: int, layers: int) -> bool:
    """Whether the layer at that place of a stage with so many layers is computed again as a whole."""
    if values["recompute_granularity"] != "full":
        return False
    if values["recompute_method"] == "uniform":
        return True
    chunk = max(1, layers // (layout.virtual or 1))
    return index % chunk < int(values["recompute_num_layers"] or 0)


def micro_batches(values: Values, layout: Layout) -> int:
    """That one replica of the model computes in a step."""
    whole = int(values["global_batch_size"] or int(values["micro_batch_size"]) * layout.data)
    return max(1, whole // (int(values["micro_batch_size"]) * max(1, layout.data)))


def _in_flight(values: Values, layout: Layout, stage: int) -> float:
    """Micro-batches whose activations a stage holds at once, in units of all its layers."""
    batches = micro_batches(values, layout)
    waiting = layout.pipeline - stage
    if layout.virtual is None or layout.virtual == 1:
        return min(batches, waiting)
    return min(batches, layout.pipeline + (waiting - 1 - stage) / layout.virtual)

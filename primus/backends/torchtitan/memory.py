"""What a torchtitan run needs of each GPU's memory, worked out from its settings: no torch, nothing allocated.

`primus models` says from it how many GPUs a shipped experiment needs, `primus estimate` shows it by pipeline stage.
weights.py and activations.py count the parts; docs/estimate.md has the formulas and the proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from primus.backends.account import StageMemory
from primus.backends.torchtitan import activations
from primus.backends.torchtitan.activations import Implementation, Micro, micro_batch
from primus.backends.torchtitan.flavors import sizes_of
from primus.backends.torchtitan.layout import V_SCHEDULES, Layout, layout_of
from primus.backends.torchtitan.settings import Settings
from primus.backends.torchtitan.shape import shape_of
from primus.backends.torchtitan.weights import Module, Stage, stage_modules, stages_of
from primus.metrics.shape import ModelShape

WIDTH = {"float32": 4, "bfloat16": 2}
"""Bytes of a number."""

MOMENTS = 2
"""Numbers of AdamW for each parameter, besides its weight and gradient."""


def estimate_memory(settings: Settings, world_size: int) -> int:
    """Bytes on the rank of the pipeline stage that needs the most."""
    return max(memory.total for memory in stage_memories(settings, world_size))


def stage_memories(settings: Settings, world_size: int, implementation: Implementation = "engine") -> list[StageMemory]:
    """The memory of the first rank of each pipeline stage, which has the largest part of every weight."""
    family, sizes = settings["model.name"], sizes_of(settings) or {}
    shape, layout = shape_of(family, sizes, sequence=settings["training.seq_len"]), layout_of(settings, world_size)
    ranks = stages_of(settings, layout, len(shape.layers))
    return [_rank_memory(settings, layout, shape, sizes, rank, own, implementation) for rank, own in enumerate(ranks)]


def held_elements(
    shape: ModelShape, family: str, sizes: Mapping[str, Any], layout: Layout, stages: Sequence[Stage], rank: int = 0
) -> int:
    """Elements of all weights on one of the ranks that FSDP divides them among."""
    modules = stage_modules(shape, family, sizes, stages)
    return sum(module.count * module.sharded(layout, rank) for module in modules)


def micro_batches(settings: Settings, layout: Layout) -> int:
    """That one replica computes in a step."""
    local, whole = int(settings["training.local_batch_size"]), int(settings["training.global_batch_size"])
    batches = whole // (local * layout.data) if whole > 0 and layout.data else 1
    micro = int(settings["parallelism.pipeline_parallel_microbatch_size"]) if layout.pipeline > 1 else local
    return max(1, batches) * max(1, local // micro)


def _rank_memory(
    settings: Settings,
    layout: Layout,
    shape: ModelShape,
    sizes: Mapping[str, Any],
    rank: int,
    stages: Sequence[Stage],
    implementation: Implementation,
) -> StageMemory:
    family, width = settings["model.name"], WIDTH[settings["training.dtype"]]
    modules = stage_modules(shape, family, sizes, stages)
    held = sum(module.count * module.sharded(layout, 0) for module in modules)
    states = 0 if settings["optimizer.early_step_in_backward"] else 1
    micro = micro_batch(settings, shape, sizes, layout, implementation)
    batches = in_flight(settings, layout, rank)
    once, working = _activations(micro, stages)
    worst = 0.0
    if shape.experts is not None:
        local = shape.experts.count // layout.expert
        visits = float(layout.expert * min(shape.experts.active, local))
        more, again = _activations(micro_batch(settings, shape, sizes, layout, implementation, visits=visits), stages)
        worst = batches * (more - once) + again - working
    last = any(stage.last for stage in stages)
    end = activations.output_bytes(micro) if last else 0.0
    logits = activations.logits_workspace(micro) if last else 0.0
    dense, experts = (
        sum(module.count * module.gathered(layout, experts=kind) for module in modules) for kind in (False, True)
    )
    return StageMemory(
        dense=dense,
        experts=experts,
        weights=width * held,
        gradients=width * held * states,
        optimizer=MOMENTS * width * held,
        activations=int(batches * once + end),
        workspace=int(working + logits + _gathered(settings, layout, modules)),
        worst_experts=int(worst),
        in_flight=batches,
        layers=sum(len(stage.layers) for stage in stages),
        sparse_layers=sum(shape.layers[index].experts for stage in stages for index in stage.layers),
    )


def _gathered(settings: Settings, layout: Layout, modules: Sequence[Module]) -> int:
    """Whole weights and gradients: with FSDP of the two largest modules, or of all that stay gathered."""
    reduce, param = (WIDTH[settings[f"training.mixed_precision_{kind}"]] for kind in ("reduce", "param"))
    if layout.shard * layout.context == 1:
        # DDP reduces gradients in buckets that are copies of them.
        whole = sum(module.count * module.gathered(layout) for module in modules)
        return WIDTH[settings["training.dtype"]] * whole if layout.replicate > 1 else 0
    sizes = sorted(size for module in modules for size in [module.gathered(layout)] * module.count)
    policy = settings["parallelism.fsdp_reshard_after_forward"]
    stays = policy == "never" or (policy == "default" and layout.pipeline > 1)
    gathered = sum(sizes) if stays else sum(sizes[-2:])
    return param * gathered + reduce * sum(sizes[-2:])


def in_flight(settings: Settings, layout: Layout, rank: int) -> float:
    """Micro-batches whose activations a rank holds at once, in units of all its layers."""
    local = int(settings["training.local_batch_size"])
    if layout.pipeline == 1:
        return 1
    batches = max(1, local // int(settings["parallelism.pipeline_parallel_microbatch_size"]))
    schedule = layout.schedule.lower()
    if schedule == "gpipe":
        return batches
    if schedule == "1f1b":
        return min(batches, layout.pipeline - rank)
    if schedule in V_SCHEDULES:
        return min(batches, layout.pipeline)
    # Two stages for each rank: as many as in Megatron's interleaved schedule.
    return min(batches, layout.pipeline + (layout.pipeline - 1 - 2 * rank) / 2)


def _activations(micro: Micro, stages: Sequence[Stage]) -> tuple[float, float]:
    """What one micro-batch leaves in the layers of a rank; and what is made again at a time."""
    kept, working = 0.0, 0.0
    found: dict[tuple[bool, bool], tuple[float, float]] = {}
    for stage in stages:
        kept += activations.first_bytes(micro) if stage.first else 0.0
        for index in stage.layers:
            layer = micro.shape.layers[index]
            kind = (layer.experts, activations.is_whole(micro, index))
            if kind not in found:
                found[kind] = activations.kept_bytes(micro, index), activations.layer_bytes(micro, layer)
            own, whole = found[kind]
            kept += own
            working = max(working, whole - own)
    return kept, working

"""The matrix multiplications of a torchtitan run, from its settings: no torch. `primus tune shapes` shows them.

tests/real/tuning compares them with what the real models execute.
"""

from __future__ import annotations

import itertools

from primus.backends.torchtitan.flavors import has_experts, sizes_of
from primus.backends.torchtitan.layout import Layout, layout_of
from primus.backends.torchtitan.settings import Settings
from primus.backends.torchtitan.shape import shape_of
from primus.metrics.matmul import Division, Precision, Step, Tally, layer_steps, output_steps
from primus.metrics.shape import ModelShape


def tally(settings: Settings, world_size: int) -> Tally:
    """One training step of a checked experiment."""
    sizes, layout = sizes_of(settings) or {}, layout_of(settings, world_size)
    shape = shape_of(settings["model.name"], sizes, sequence=settings["training.seq_len"])
    local = settings["training.local_batch_size"]
    micro = settings["parallelism.pipeline_parallel_microbatch_size"] if layout.pipeline > 1 else local
    whole = settings["training.global_batch_size"]
    batches = (whole // (local * layout.data) if whole > 0 else 1) * (local // micro)
    # A kernel of its own multiplies all experts of a process, unless the model is told to do them one by one.
    grouped = bool(sizes.get("moe_args.use_grouped_mm", True))
    division = _division(layout, shape, micro, grouped=grouped)
    found = Tally(precision=_precision(settings))
    ranks = world_size // layout.pipeline
    stages = _stages(len(shape.layers), layout.pipeline)
    for stage, own in enumerate(stages):
        steps = [step for index in own for step in _layer(settings, shape, division, index)]
        if stage == layout.pipeline - 1:
            steps += output_steps(shape, division)
        found.add(steps, times=batches, ranks=ranks, again=lambda step: step.part.startswith(_AGAIN))
    found.notes += _notes(settings, layout, grouped=grouped and has_experts(sizes), sparse=has_experts(sizes))
    return found


_AGAIN = "again: "
"""Before the part of a step that the backward pass multiplies once more."""


def _division(layout: Layout, shape: ModelShape, sequences: int, *, grouped: bool) -> Division:
    return Division(
        sequences=sequences,
        sequence=shape.sequence // layout.context,
        tensor=layout.tensor,
        expert=layout.expert,
        expert_tensor=layout.expert_tensor,
        sequence_parallel=False,
        joined_projections=False,
        fused_attention=True,
        split_latents=False,
        grouped_experts=grouped,
    )


def _precision(settings: Settings) -> Precision:
    half = "bfloat16" in (settings["training.mixed_precision_param"], settings["training.dtype"])
    return "bf16" if half else "fp32"


def _stages(layers: int, pipeline: int) -> list[range]:
    """Layers of each stage when they are divided evenly."""
    ends = [layers * stage // pipeline for stage in range(pipeline + 1)]
    return [range(first, last) for first, last in itertools.pairwise(ends)]


def _layer(settings: Settings, shape: ModelShape, division: Division, index: int) -> list[Step]:
    steps = layer_steps(shape, division, shape.layers[index])
    again = _recomputed(settings, steps, index)
    return [
        Step(part=_AGAIN + step.part if repeat else step.part, forward=step.forward, backward=step.backward)
        for step, repeat in zip(steps, again, strict=True)
    ]


def _recomputed(settings: Settings, steps: list[Step], index: int) -> list[bool]:
    """Which steps of a layer run again in the backward pass."""
    mode, option = settings["activation_checkpoint.mode"], settings["activation_checkpoint.selective_ac_option"]
    if mode == "full":
        return [True] * len(steps)
    if mode != "selective":
        return [False] * len(steps)
    if option != "op":
        every = int(option)
        return [not every or (index + 1) % every == 0] * len(steps)
    return _recomputed_by_operation(settings, steps)


def _recomputed_by_operation(settings: Settings, steps: list[Step]) -> list[bool]:
    """Every second product, not counting those with a weight of the same size as a module that is always repeated."""
    named = settings["activation_checkpoint.per_op_sac_force_recompute_mm_shapes_by_fqns"]
    router = next((step.forward for step in steps if step.part == "router"), None)
    always = (router.m, router.k) if router is not None and "moe.router.gate" in named else None
    found, count = [], 0
    for step in steps:
        if (step.forward.m, step.forward.k) == always:
            found.append(True)
        else:
            count += 1
            found.append(count % 2 == 0)
    return found


def _notes(settings: Settings, layout: Layout, *, grouped: bool, sparse: bool) -> list[str]:
    notes = []
    if grouped:
        notes.append("torchtitan multiplies the experts in a grouped kernel, which is not hipBLASLt's: left out")
    elif sparse:
        notes.append("each expert is shown with the mean number of tokens; the router sends others in each step")
    if layout.pipeline > 1:
        notes.append("layers are taken as evenly divided among the pipeline stages")
    if settings["activation_checkpoint.mode"] == "memory_budget":
        notes.append("the compiler decides what is computed again: nothing is counted twice")
    if settings["model.converters"]:
        notes.append(
            f"model.converters ({', '.join(settings['model.converters'])}) may change the precision of products, which "
            "are shown in the model's own. Don't tune those in fp8: stage 1 dumps the real ones"
        )
    return notes

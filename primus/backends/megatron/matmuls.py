"""The matrix multiplications of a Megatron run, from its keys alone: no torch. `primus tune shapes` shows them.

tests/real/tuning compares them with what the real GPTModel executes. What stands in the weights' place on a GPU is the
same: Transformer Engine's layers multiply as megatron.core's own do, but for attention, which it does in one kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from primus.backends.megatron.layout import Layout, layout_of
from primus.backends.megatron.memory import is_recomputed, stage_layers
from primus.backends.megatron.parameters import Values
from primus.backends.megatron.shape import shape_of
from primus.metrics.matmul import Division, Precision, Step, Tally, layer_steps, output_steps, prediction_steps

_RECOMPUTED_PARTS = {
    "core_attn": ("attention.scores", "attention.context"),
    "mla_up_proj": ("attention.query_up", "attention.key_value_up"),
    "mlp": ("feed_forward.",),
    "moe": ("router", "experts.", "shared_experts."),
    "shared_experts": ("shared_experts.",),
}
"""What each of recompute_modules multiplies again; the others multiply nothing."""


def tally(values: Values, world_size: int, *, gpu: bool) -> Tally:
    """One training step of the model that `values` (see complete_values) describes."""
    shape, layout = shape_of(values), layout_of(values, world_size)
    batches = int(values["global_batch_size"] or 0) // (int(values["micro_batch_size"]) * layout.data) or 1
    division = _division(values, layout, gpu=gpu)
    found = Tally(precision=_precision(values), accumulated=bool(values["gradient_accumulation_fusion"]))
    ranks = world_size // layout.pipeline
    for stage, own in enumerate(stage_layers(values, layout)):
        steps = [
            step
            for place, index in enumerate(own)
            for step in _marked(
                layer_steps(shape, division, shape.layers[index]),
                is_recomputed(values, layout, place, len(own)),
            )
        ]
        if stage == layout.pipeline - 1:
            steps += output_steps(shape, division)
            steps += prediction_steps(shape, division) * shape.prediction_depths
        found.add(steps, times=batches, ranks=ranks, again=_again(values))
    found.notes += _notes(values, layout)
    return found


def _division(values: Values, layout: Layout, *, gpu: bool) -> Division:
    implementation = values["transformer_impl"] or ("transformer_engine" if gpu else "local")
    engine = implementation == "transformer_engine"
    return Division(
        sequences=int(values["micro_batch_size"]),
        sequence=int(values["seq_length"]) // layout.context,
        tensor=layout.tensor,
        expert=layout.expert,
        expert_tensor=layout.expert_tensor,
        sequence_parallel=bool(values["sequence_parallel"]),
        joined_projections=True,
        fused_attention=engine and values["attention_backend"] != "unfused",
        split_latents=not engine,
        router_in_float32=values["moe_router_dtype"] is not None,
        split_router_tokens=True,
    )


def _precision(values: Values) -> Precision:
    return "bf16" if values["bf16"] else "fp16" if values["fp16"] else "fp32"


_FULL = "again: "
"""Before the part of a step in a layer that is recomputed as a whole."""


def _marked(steps: list[Step], recomputed: bool) -> list[Step]:
    return [replace(step, part=_FULL + step.part) for step in steps] if recomputed else steps


def _again(values: Values) -> Callable[[Step], bool]:
    """Which steps the backward pass multiplies once more."""
    modules = values["recompute_modules"] or ["core_attn"]
    parts = tuple(part for module in modules for part in _RECOMPUTED_PARTS.get(module, ()))
    chosen = parts if values["recompute_granularity"] == "selective" else ()
    return lambda step: step.part.startswith((_FULL, *chosen))


def _notes(values: Values, layout: Layout) -> list[str]:
    notes = []
    if values["num_experts"]:
        notes.append("each expert is shown with the mean number of tokens; the router sends others in each step")
    if values["fp8"]:
        notes.append(
            "fp8 is on and not predicted: layers in fp8 are shown in the model's own precision, while hipBLASLt gets "
            "other types, scales and transposes from them. Don't tune these shapes: stage 1 dumps the real ones"
        )
    if layout.context > 1 and values["attention_backend"] == "unfused":
        notes.append("attention over several processes is shown as if each had only its own part of the sequence")
    return notes

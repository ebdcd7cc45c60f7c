"""A Megatron run in numbers, and the keys of another layout of it: what `primus estimate` asks for. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primus.backends.account import Account, Arrangement, Changes, Split
from primus.backends.megatron.exchanges import exchanges
from primus.backends.megatron.layout import Layout, layout_of
from primus.backends.megatron.memory import (
    gradient_bytes,
    implementation_of,
    micro_batches,
    optimizer_bytes,
    stage_memories,
    weight_bytes,
)
from primus.backends.megatron.parameters import Parameters, Values, count_parameters
from primus.backends.megatron.shape import shape_of
from primus.metrics.accelerators import Precision


def account(values: Values, world_size: int) -> Account:
    """The run that `values` (see complete_values) describe."""
    layout = layout_of(values, world_size)
    parameters = count_parameters(values)
    sharded = bool(values["use_distributed_optimizer"])
    stages = stage_memories(values, world_size)
    shape, repeated, width = shape_of(values), _repeated(values, layout), weight_bytes(values)
    return Account(
        shape=shape,
        parts=_parts(parameters),
        active=parameters.active,
        split=Split(
            tensor=layout.tensor,
            sequence=bool(values["sequence_parallel"]) and layout.tensor > 1,
            pipeline=layout.pipeline,
            virtual=layout.virtual or 1,
            context=layout.context,
            expert=layout.expert,
            expert_tensor=layout.expert_tensor,
            data=layout.data,
        ),
        stages=tuple(stages),
        micro_batch=int(values["micro_batch_size"]),
        micro_batches=micro_batches(values, layout),
        steps=values["train_iters"],
        precision=_precision(values),
        recompute=values["recompute_granularity"] or "none",
        width=width,
        gradient_width=gradient_bytes(values),
        weight_width=width,
        sharding="optimizer" if sharded else "none",
        gathers=1 if sharded else 0,
        reductions=1,
        saved_width=width + (0 if values["no_save_optim"] else optimizer_bytes(values)),
        exchanges=exchanges(values, layout, shape, implementation_of(values), repeated=repeated, width=width),
        repeated=repeated,
        shared_embedding=shape.tied or shape.prediction_depths > 0,
        notes=_notes(values),
    )


def arrange(values: Mapping[str, Any], arrangement: Arrangement) -> Changes:
    """Everything else stays as it is."""
    split = arrangement.split
    full = arrangement.recompute == "full"
    changes: dict[str, object] = {
        "tensor_model_parallel_size": split.tensor,
        "sequence_parallel": split.tensor > 1,
        "pipeline_model_parallel_size": split.pipeline,
        "num_virtual_stages_per_pipeline_rank": split.virtual if split.virtual > 1 else None,
        "num_layers_per_virtual_pipeline_stage": None,
        "pipeline_model_parallel_layout": None,
        "decoder_first_pipeline_num_layers": None,
        "decoder_last_pipeline_num_layers": None,
        "context_parallel_size": split.context,
        "micro_batch_size": arrangement.micro_batch,
        "recompute_granularity": None if arrangement.recompute == "none" else arrangement.recompute,
        "recompute_method": "uniform" if full else None,
        "recompute_num_layers": 1 if full else None,
    }
    if values.get("num_experts"):
        changes |= {
            "expert_model_parallel_size": split.expert,
            "expert_tensor_parallel_size": split.expert_tensor,
        }
    return changes


def _repeated(values: Values, layout: Layout) -> float:
    """Share of the layers that run again as a whole."""
    if values["recompute_granularity"] != "full":
        return 0.0
    chunk = max(1.0, int(values["num_layers"]) / (layout.pipeline * (layout.virtual or 1)))
    return (
        1.0 if values["recompute_method"] == "uniform" else min(1.0, int(values["recompute_num_layers"] or 0) / chunk)
    )


def _parts(parameters: Parameters) -> dict[str, int]:
    layers = parameters.layers
    return {
        "embedding": parameters.embedding,
        "attention": sum(layer.attention for layer in layers),
        "feed-forward": sum(layer.feed_forward for layer in layers),
        "router": sum(layer.router + layer.bias for layer in layers),
        "experts": sum(layer.experts for layer in layers),
        "norms": sum(layer.norms for layer in layers) + parameters.final_norm,
        "output": parameters.output,
        "multi-token prediction": parameters.multi_token_prediction,
    }


def _precision(values: Values) -> Precision:
    if values["fp8"]:
        return "fp8"
    return "bf16" if values["bf16"] else "fp16" if values["fp16"] else "fp32"


def _notes(values: Values) -> tuple[str, ...]:
    notes = []
    if implementation_of(values) == "engine":
        notes.append("activations are those of Transformer Engine's layers: derived, not measured (docs/estimate.md)")
    if values["fp8"]:
        notes.append("fp8: activations and weights are counted in 16 bits, which is more than they take")
    for key in ("optimizer_cpu_offload", "cpu_offloading"):
        if values.get(key):
            notes.append(f"{key}: what it moves to the CPU is counted as if it stayed on the GPU")
    return tuple(notes)

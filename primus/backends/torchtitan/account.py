"""A torchtitan run in numbers, and the keys of another layout of it: what `primus estimate` asks for. No torch."""

from __future__ import annotations

from primus.backends.account import Account, Arrangement, Changes, Recompute, Split
from primus.backends.torchtitan.exchanges import exchanges, repeated
from primus.backends.torchtitan.flavors import sizes_of
from primus.backends.torchtitan.layout import V_SCHEDULES, Layout, layout_of
from primus.backends.torchtitan.memory import WIDTH, micro_batches, stage_memories
from primus.backends.torchtitan.parameters import count_parameters, parts_of
from primus.backends.torchtitan.settings import Settings
from primus.backends.torchtitan.shape import shape_of
from primus.backends.torchtitan.weights import stages_of
from primus.metrics.accelerators import Precision
from primus.metrics.shape import ModelShape


def account(settings: Settings, world_size: int) -> Account:
    """The run of a checked experiment."""
    family, sizes = settings["model.name"], sizes_of(settings) or {}
    layout = layout_of(settings, world_size)
    shape = shape_of(family, sizes, sequence=settings["training.seq_len"])
    parameters = count_parameters(family, sizes)
    local = settings["training.local_batch_size"]
    micro = settings["parallelism.pipeline_parallel_microbatch_size"] if layout.pipeline > 1 else local
    batches = micro_batches(settings, layout)
    stays = settings["parallelism.fsdp_reshard_after_forward"]
    once = stays == "never" or (stays == "default" and layout.pipeline > 1)
    sharded = layout.shard * layout.context > 1
    accumulations = max(1, batches * micro // local)
    width = WIDTH[settings["training.dtype"]]
    travelling = WIDTH[settings["training.mixed_precision_param"]] if sharded else width
    mode, option = settings["activation_checkpoint.mode"], settings["activation_checkpoint.selective_ac_option"]
    again = repeated(family, mode, str(option))
    return Account(
        shape=shape,
        parts=parts_of(family, sizes),
        active=parameters.active,
        split=Split(
            tensor=layout.tensor,
            sequence=layout.tensor > 1,
            pipeline=layout.pipeline,
            virtual=len(stages_of(settings, layout, len(shape.layers))[0]),
            context=layout.context,
            expert=layout.expert,
            expert_tensor=layout.expert_tensor if layout.expert > 1 else layout.tensor,
            data=layout.data,
            replicate=layout.replicate,
        ),
        stages=tuple(stage_memories(settings, world_size)),
        micro_batch=micro,
        micro_batches=batches,
        steps=settings["training.steps"],
        precision=_precision(settings),
        recompute=_recompute(settings),
        width=travelling,
        gradient_width=WIDTH[settings["training.mixed_precision_reduce"]] if sharded else width,
        weight_width=travelling,
        sharding="weights" if sharded else "none",
        gathers=(1 if once else 2) * accumulations if sharded else 0,
        reductions=accumulations,
        saved_width=3 * width,
        exchanges=exchanges(
            layout, shape, tokens=micro * shape.sequence / layout.context, width=travelling, again=again
        ),
        repeated=again.sums,
        folded=layout.pipeline > 1 and layout.schedule.lower() in V_SCHEDULES,
        gathered_once=_output_elements(shape, layout) if stays == "default" and not once else 0,
        notes=_notes(settings),
    )


def arrange(settings: Settings, arrangement: Arrangement) -> Changes:
    """Everything else stays as it is; FSDP takes the ranks that are left."""
    split, mode = arrangement.split, arrangement.recompute
    changes: dict[str, object] = {
        "parallelism.data_parallel_replicate_degree": 1,
        "parallelism.data_parallel_shard_degree": -1,
        "parallelism.tensor_parallel_degree": split.tensor,
        "parallelism.pipeline_parallel_degree": split.pipeline,
        "parallelism.context_parallel_degree": split.context,
        "parallelism.expert_parallel_degree": split.expert,
        "parallelism.expert_tensor_parallel_degree": split.expert_tensor if split.expert > 1 else 1,
        "training.local_batch_size": arrangement.micro_batch,
        "activation_checkpoint.mode": mode,
    }
    if split.pipeline > 1:
        # As many sequences at a time as asked for, and as many of those as keep the pipeline busy.
        changes |= {
            "training.local_batch_size": arrangement.micro_batch * 4 * split.pipeline,
            "parallelism.pipeline_parallel_microbatch_size": arrangement.micro_batch,
            "parallelism.pipeline_parallel_schedule": "Interleaved1F1B" if split.virtual > 1 else "1F1B",
            "parallelism.pipeline_parallel_layers_per_stage": None,
        }
    return changes


def _precision(settings: Settings) -> Precision:
    half = "bfloat16" in (settings["training.mixed_precision_param"], settings["training.dtype"])
    if any("float8" in name or "mx" in name for name in settings["model.converters"] or ()):
        return "fp8"
    return "bf16" if half else "fp32"


def _recompute(settings: Settings) -> Recompute:
    modes: dict[str, Recompute] = {"full": "full", "selective": "selective"}
    return modes.get(settings["activation_checkpoint.mode"], "none")


def _output_elements(shape: ModelShape, layout: Layout) -> int:
    """Of the last norm and the output layer on one rank, gathered."""
    return shape.hidden + (0 if shape.tied else -(-shape.vocabulary // layout.tensor) * shape.hidden)


def _notes(settings: Settings) -> tuple[str, ...]:
    notes = ["activations are those of fused kernels on a GPU: derived, not measured (docs/estimate.md)"]
    if settings["compile.enable"]:
        notes.append("compile: activations are those of the model as written; compiled, it keeps about as much or less")
    if settings["activation_checkpoint.mode"] == "memory_budget":
        notes.append("activation_checkpoint.mode memory_budget: the compiler decides; counted as without recomputation")
    if settings["training.enable_cpu_offload"]:
        notes.append("enable_cpu_offload: weights, gradients and optimizer are counted as if they stayed on the GPU")
    return tuple(notes)

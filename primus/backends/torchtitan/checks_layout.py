"""Rules between a torchtitan experiment and the processes it is to run on: degrees of parallelism, batch sizes,
pipeline stages, and what needs a GPU. checks.py calls them when it is given resources."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from primus.backends.torchtitan.flavors import family_of, has_experts, sizes_of
from primus.backends.torchtitan.layout import V_SCHEDULES, Layout, layout_of
from primus.backends.torchtitan.settings import Settings
from primus.errors import Problem, did_you_mean
from primus.job import Resources

SCHEDULES = (
    "1F1B",
    "GPipe",
    "Interleaved1F1B",
    "InterleavedZeroBubble",
    "LoopedBFS",
    "ZBVZeroBubble",
    "DualPipeV",
    "PipelineScheduleSingle",
    "PipelineScheduleMulti",
)
_ONE_STAGE = ("1f1b", "gpipe", "pipelineschedulesingle")
_ROUNDS = ("interleaved1f1b", "interleavedzerobubble")


def _degrees(settings: Settings, resources: Resources) -> Iterator[Problem]:
    layout, world = layout_of(settings, resources.world_size), resources.world_size
    key = "parallelism.data_parallel_shard_degree"
    if settings[key] == 0:
        yield settings.problem(key, "expected at least 1, or -1 for all that the other degrees leave, got 0")
        return
    others = layout.replicate * layout.context * layout.tensor * layout.pipeline
    text = (
        f"replicate {layout.replicate} × context {layout.context} × tensor {layout.tensor} "
        f"× pipeline {layout.pipeline} = {others}"
    )
    where = _largest(settings)
    if settings[key] == -1 and world % others:
        yield settings.problem(where, f"the parallel degrees {text} do not divide the {world} processes of this run")
    elif settings[key] > 0 and others * layout.shard != world:
        message = f"the parallel degrees shard {layout.shard} × {text.removesuffix(f' = {others}')}"
        product = others * layout.shard
        yield settings.problem(where, f"{message} = {product} are not the {world} processes of this run")
    elif layout.replicate > 1 and layout.shard * layout.context == 1 and world != layout.replicate:
        message = "replication without sharding (DDP) does not go with tensor or pipeline parallelism in torchtitan"
        yield settings.problem("parallelism.data_parallel_replicate_degree", message)


def _largest(settings: Settings) -> str:
    """The degree to blame: the largest that the experiment sets."""
    names = ("data_parallel_replicate", "data_parallel_shard", "context_parallel", "tensor_parallel")
    keys = [f"parallelism.{name}_degree" for name in (*names, "pipeline_parallel")]
    return max(keys, key=lambda key: settings[key] if settings.is_set(key) else 0)


def _early_step(settings: Settings, resources: Resources) -> Iterator[Problem]:
    layout, key = layout_of(settings, resources.world_size), "optimizer.early_step_in_backward"
    if settings[key] and layout.replicate > 1 and layout.shard * layout.context == 1:
        yield settings.problem(key, "does not go with DDP: each rank would step by the gradients of its own data alone")


def _batch(settings: Settings, resources: Resources) -> Iterator[Problem]:
    layout, total = layout_of(settings, resources.world_size), settings["training.global_batch_size"]
    local = settings["training.local_batch_size"]
    if total > 0 and layout.data and total % (local * layout.data):
        message = (
            f"{total} is not a multiple of training.local_batch_size × data-parallel ranks, {local} × {layout.data}"
        )
        yield settings.problem("training.global_batch_size", message)


def _splits(settings: Settings, resources: Resources) -> Iterator[Problem]:
    """What tensor and context parallelism split must be divisible."""
    layout, sizes = layout_of(settings, resources.world_size), sizes_of(settings)
    length, divisor = settings["training.seq_len"], layout.tensor * layout.context * 2
    if (layout.tensor > 1 or layout.context > 1) and length % divisor:
        message = f"{length} is not a multiple of 2 × tensor {layout.tensor} × context {layout.context} = {divisor}"
        yield settings.problem("training.seq_len", message)
    if sizes is None or layout.tensor == 1:
        return
    for name, what in (("n_heads", "attention heads"), ("n_kv_heads", "key-value heads")):
        heads = sizes.get(name)
        if heads and heads % layout.tensor:
            message = f"{layout.tensor} does not divide the model's {heads} {what}"
            yield settings.problem("parallelism.tensor_parallel_degree", message)


def _experts(settings: Settings, resources: Resources) -> Iterator[Problem]:
    layout, sizes = layout_of(settings, resources.world_size), sizes_of(settings)
    if layout.expert == 1:
        for key, usual in (("expert_tensor_parallel_degree", 1), ("expert_parallel_comm_backend", "standard")):
            if settings[f"parallelism.{key}"] != usual:
                message = "changes nothing: parallelism.expert_parallel_degree is 1"
                yield settings.problem(f"parallelism.{key}", message)
        return
    if sizes is None or not has_experts(sizes):
        return
    degree = "parallelism.expert_parallel_degree"
    if layout.expert_tensor not in (1, layout.tensor):
        message = f"expected 1 or tensor_parallel_degree, {layout.tensor}, got {layout.expert_tensor}"
        yield settings.problem("parallelism.expert_tensor_parallel_degree", message)
    elif layout.expert_tensor != layout.tensor:
        message = (
            f"torchtitan 0.2.2 trains routers wrongly, each tensor rank on its own tokens alone, unless this is "
            f"tensor_parallel_degree: set {layout.tensor}"
        )
        yield settings.problem("parallelism.expert_tensor_parallel_degree", message)
    elif (layout.shard * layout.context * layout.tensor) % (layout.expert * layout.expert_tensor):
        ranks = layout.shard * layout.context * layout.tensor
        message = f"{layout.expert} does not divide shard × context × tensor = {ranks} ranks"
        yield settings.problem(degree, message)
    if sizes["moe_args.num_experts"] % layout.expert:
        message = f"{layout.expert} does not divide the model's {sizes['moe_args.num_experts']} experts"
        yield settings.problem(degree, message)
    if settings["parallelism.expert_parallel_comm_backend"] == "deepep" and layout.expert_tensor > 1:
        message = "deepep does not go with expert_tensor_parallel_degree above 1"
        yield settings.problem("parallelism.expert_parallel_comm_backend", message)


def _pipeline(settings: Settings, resources: Resources) -> Iterator[Problem]:
    layout, family, sizes = layout_of(settings, resources.world_size), family_of(settings), sizes_of(settings)
    key = "parallelism.pipeline_parallel_schedule"
    if layout.pipeline == 1:
        return
    if layout.schedule.lower() not in [name.lower() for name in SCHEDULES]:
        choices = f"expected one of {', '.join(SCHEDULES)}"
        yield settings.problem(key, f"unknown schedule; {choices}.{did_you_mean(layout.schedule, SCHEDULES)}")
        return
    if family is not None and not family.pipelining:
        message = f"torchtitan 0.2.2 can't split {family.name} into pipeline stages"
        yield settings.problem("parallelism.pipeline_parallel_degree", message)
        return
    size, batch = settings["parallelism.pipeline_parallel_microbatch_size"], settings["training.local_batch_size"]
    validated = settings["validation.local_batch_size"]
    if batch % size:
        message = f"{size} does not divide training.local_batch_size, {batch}"
        yield settings.problem("parallelism.pipeline_parallel_microbatch_size", message)
        return
    if settings["validation.enable"] and validated % (batch // size):
        message = f"{validated} can't be split into as many microbatches as a step of training has, {batch // size}"
        yield settings.problem("validation.local_batch_size", message)
    if sizes is not None:
        yield from _stages(settings, layout, sizes, batch // size)


def _stages(settings: Settings, layout: Layout, sizes: Mapping[str, Any], microbatches: int) -> Iterator[Problem]:
    schedule, ranks = layout.schedule.lower(), layout.pipeline
    first = settings["parallelism.pipeline_parallel_first_stage_less_layers"]
    last = settings["parallelism.pipeline_parallel_last_stage_less_layers"]
    key, weight = "parallelism.pipeline_parallel_degree", sizes["n_layers"] + first + last
    per_stage = settings["parallelism.pipeline_parallel_layers_per_stage"]
    by_hand = settings["parallelism.module_fqns_per_model_part"]
    if by_hand:
        key, stages = "parallelism.module_fqns_per_model_part", len(by_hand)
    elif per_stage:
        key, stages = "parallelism.pipeline_parallel_layers_per_stage", math.ceil(weight / per_stage)
    else:
        stages = ranks if schedule in _ONE_STAGE else 2 * ranks
    if stages % ranks:
        yield settings.problem(key, f"makes {stages} stages, which {ranks} pipeline ranks can't share evenly")
    elif (stages == ranks) != (schedule in _ONE_STAGE) or (schedule in V_SCHEDULES and stages != 2 * ranks):
        wanted = "1 stage" if schedule in _ONE_STAGE else "2 stages" if schedule in V_SCHEDULES else "2 stages or more"
        yield settings.problem(key, f"makes {stages // ranks} per rank; the schedule {layout.schedule} needs {wanted}")
    elif not by_hand and max(first, last, 1) > weight // stages:
        yield settings.problem(key, f"the model's {sizes['n_layers']} layers are too few for {stages} stages")
    rounds = max(1, microbatches // ranks)
    if schedule in ("1f1b", "dualpipev") and microbatches < stages:
        message = f"{microbatches} microbatches are fewer than the {stages} stages of the schedule {layout.schedule}"
        yield settings.problem("training.local_batch_size", message)
    elif schedule in _ROUNDS and microbatches % rounds:
        message = f"{microbatches} microbatches can't be split into {rounds} rounds over {ranks} pipeline ranks"
        yield settings.problem("training.local_batch_size", message)


def _precision(settings: Settings, resources: Resources) -> Iterator[Problem]:
    layout, key = layout_of(settings, resources.world_size), "training.mixed_precision_param"
    sharded = layout.shard * layout.context > 1
    if settings[key] == "bfloat16" and not sharded and (layout.tensor > 1 or layout.pipeline > 1):
        message = (
            f"torchtitan mixes precisions with FSDP only: without it the model computes in {settings['training.dtype']}"
        )
        yield settings.problem(key, message, "warning")


def _rotation(settings: Settings, resources: Resources) -> Iterator[Problem]:
    key = "parallelism.context_parallel_rotate_method"
    used = settings["parallelism.context_parallel_degree"] > 1 and settings["validation.enable"]
    if settings[key] == "alltoall" and not used:
        yield settings.problem(key, "changes nothing: torchtitan 0.2.2 reads it in validation only", "warning")


def _seed_checkpoint(settings: Settings, resources: Resources) -> Iterator[Problem]:
    if settings["checkpoint.create_seed_checkpoint"] and resources.world_size > 1:
        message = f"needs a single process, so that the weights are whole; this run has {resources.world_size}"
        yield settings.problem("checkpoint.create_seed_checkpoint", message)


def _without_gpu(settings: Settings, resources: Resources) -> Iterator[Problem]:
    """What torchtitan can't do on a CPU."""
    if resources.accelerator != "cpu":
        return
    sizes = sizes_of(settings)
    if settings["parallelism.context_parallel_degree"] > 1:
        yield settings.problem("parallelism.context_parallel_degree", "context parallelism needs a GPU")
    if settings["profiling.enable_memory_snapshot"]:
        yield settings.problem("profiling.enable_memory_snapshot", "snapshots are of the GPU's memory; there is no GPU")
    if settings["model.converters"] and not settings["quantize.linear.float8.emulate"]:
        yield settings.problem("model.converters", "low precision needs a GPU")
    if settings["parallelism.expert_parallel_comm_backend"] == "deepep":
        yield settings.problem("parallelism.expert_parallel_comm_backend", "deepep needs a GPU")
    if settings["compile.enable"]:
        yield settings.problem("compile.enable", "on a CPU, compiling takes longer than it saves", "warning")
    if sizes is None:
        return
    if sizes["attn_type"] != "sdpa":
        message = f"{settings['model.flavor']} has {sizes['attn_type']} attention, which needs a GPU"
        yield settings.problem("model.flavor", message)
    if settings["model.name"] == "qwen3" and settings["parallelism.tensor_parallel_degree"] > 1:
        message = "PyTorch can't divide the attention of qwen3 among processes on a CPU"
        yield settings.problem("parallelism.tensor_parallel_degree", message)


RULES = (
    _degrees,
    _early_step,
    _batch,
    _splits,
    _experts,
    _pipeline,
    _precision,
    _rotation,
    _seed_checkpoint,
    _without_gpu,
)

"""Contradictions between an experiment and the number of processes that a launch asks for."""

from __future__ import annotations

from primus.backends.megatron.checks.experts import expert_tensor_parallel
from primus.backends.megatron.checks.pipeline import INTERLEAVED, interleaved
from primus.backends.megatron.checks.rule import Facts, Rule

MODEL = ("tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size")
BATCH = ("global_batch_size", "micro_batch_size")


def _model(f: Facts) -> int:
    """Processes of one replica of the model. Reads MODEL."""
    return int(f.tensor_model_parallel_size * f.pipeline_model_parallel_size * f.context_parallel_size)


def _replicas(f: Facts) -> int:
    """Data-parallel size; 0 when the processes do not suffice for one replica. Reads MODEL."""
    return f.processes // _model(f)


def _divides(f: Facts) -> bool:
    return f.processes % _model(f) == 0


def _micro_batches(f: Facts) -> int:
    """Micro-batches of each replica in one step. Reads MODEL and BATCH."""
    return int((f.global_batch_size or f.micro_batch_size * _replicas(f)) // (f.micro_batch_size * _replicas(f)))


def _bad_groups(f: Facts) -> bool:
    """Whether the interleaved schedule can't run this number of micro-batches."""
    if not interleaved(f) or not _divides(f):
        return False
    stages = f.pipeline_model_parallel_size
    group = f.microbatch_group_size_per_vp_stage or stages
    rest = _micro_batches(f) % group
    return bool(group > _micro_batches(f) or 0 < rest < stages)


RULES: tuple[Rule, ...] = (
    Rule(
        keys=MODEL,
        when=lambda f: not _divides(f),
        say=lambda f: (
            f"tensor_model_parallel_size {f.tensor_model_parallel_size} × pipeline_model_parallel_size "
            f"{f.pipeline_model_parallel_size} × context_parallel_size {f.context_parallel_size} = {_model(f)} "
            f"does not divide the {f.processes} processes of this launch."
        ),
    ),
    Rule(
        keys=("expert_model_parallel_size", "expert_tensor_parallel_size", *MODEL),
        when=lambda f: (
            _divides(f)
            and f.processes
            % (f.expert_model_parallel_size * expert_tensor_parallel(f) * f.pipeline_model_parallel_size)
            != 0
        ),
        say=lambda f: (
            f"expert_model_parallel_size {f.expert_model_parallel_size} × expert_tensor_parallel_size "
            f"{expert_tensor_parallel(f)} × pipeline_model_parallel_size {f.pipeline_model_parallel_size} does not "
            f"divide the {f.processes} processes of this launch."
        ),
    ),
    Rule(
        keys=(*BATCH, *MODEL),
        when=lambda f: (
            _divides(f)
            and f.global_batch_size is not None
            and f.global_batch_size % f.micro_batch_size == 0
            and f.global_batch_size % (f.micro_batch_size * _replicas(f)) != 0
        ),
        say=lambda f: (
            f"global_batch_size {f.global_batch_size} must be a multiple of micro_batch_size {f.micro_batch_size} × "
            f"{_replicas(f)} replicas ({f.processes} processes / {_model(f)} for each)."
        ),
    ),
    Rule(
        keys=("num_distributed_optimizer_instances", *MODEL),
        when=lambda f: _divides(f) and _replicas(f) % f.num_distributed_optimizer_instances != 0,
        say=lambda f: (
            f"num_distributed_optimizer_instances {f.num_distributed_optimizer_instances} does not divide the "
            f"{_replicas(f)} replicas of the model."
        ),
    ),
    Rule(
        keys=("microbatch_group_size_per_vp_stage", *BATCH, *INTERLEAVED, *MODEL),
        when=_bad_groups,
        say=lambda f: (
            f"the interleaved schedule runs micro-batches in groups of microbatch_group_size_per_vp_stage (unset: the "
            f"{f.pipeline_model_parallel_size} stages), but a step has {_micro_batches(f)} of them: set a "
            "global_batch_size that is a multiple of micro_batch_size × replicas × that."
        ),
    ),
)

"""How the processes of a run are divided among the kinds of parallelism. The checks, the plan and the worker use it."""

from __future__ import annotations

from dataclasses import dataclass

from primus.backends.torchtitan.settings import Settings

V_SCHEDULES = ("zbvzerobubble", "dualpipev")
"""Schedules in which the first and the last stage stand on the same rank."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Degrees of parallelism, with `shard` worked out when the experiment leaves it open."""

    replicate: int
    shard: int
    context: int
    tensor: int
    pipeline: int
    expert: int
    expert_tensor: int
    schedule: str
    world_size: int

    @property
    def data(self) -> int:
        """Ranks that read different data."""
        return self.replicate * self.shard

    @property
    def reporting_rank(self) -> int:
        """The lowest rank that has the loss."""
        if self.pipeline == 1 or self.schedule.lower() in V_SCHEDULES:
            return 0
        return self.world_size // self.pipeline * (self.pipeline - 1)


def layout_of(settings: Settings, world_size: int) -> Layout:
    """The layout of an experiment on `world_size` processes; checks_layout.py says whether it can be."""
    replicate = settings["parallelism.data_parallel_replicate_degree"]
    context = settings["parallelism.context_parallel_degree"]
    tensor = settings["parallelism.tensor_parallel_degree"]
    pipeline = settings["parallelism.pipeline_parallel_degree"]
    shard = settings["parallelism.data_parallel_shard_degree"]
    return Layout(
        replicate=replicate,
        shard=shard if shard > 0 else world_size // (replicate * context * tensor * pipeline),
        context=context,
        tensor=tensor,
        pipeline=pipeline,
        expert=settings["parallelism.expert_parallel_degree"],
        expert_tensor=settings["parallelism.expert_tensor_parallel_degree"],
        schedule=settings["parallelism.pipeline_parallel_schedule"],
        world_size=world_size,
    )

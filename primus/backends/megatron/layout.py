"""How a number of processes is divided among tensor, pipeline, context, expert and data parallelism.

Pure arithmetic on an experiment's values: the plan asks which rank reports, the worker builds its groups from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The sizes of all kinds of parallelism of one run."""

    world_size: int
    tensor: int = 1
    pipeline: int = 1
    virtual: int | None = None
    """Virtual stages of each process of a pipeline; None without the interleaved schedule."""

    context: int = 1
    expert: int = 1
    expert_tensor: int = 1
    pipeline_before_data: bool = False
    """Number processes tensor, context, pipeline, data, instead of tensor, context, data, pipeline."""

    @property
    def model(self) -> int:
        """Processes that hold one replica of the model."""
        return self.tensor * self.pipeline * self.context

    @property
    def data(self) -> int:
        """Replicas of the model, each with its own part of a batch."""
        return self.world_size // self.model

    @property
    def reporting_rank(self) -> int:
        """The first process of the last pipeline stage: it has the loss."""
        before = self.tensor * self.context * (1 if self.pipeline_before_data else self.data)
        return before * (self.pipeline - 1)


def layout_of(values: Mapping[str, Any], world_size: int) -> Layout:
    """The layout that plain experiment values ask for. Nothing is checked: impossible ones have `data` rounded down."""
    tensor = values.get("tensor_model_parallel_size") or 1
    expert_tensor = values.get("expert_tensor_parallel_size")
    return Layout(
        world_size=world_size,
        tensor=tensor,
        pipeline=values.get("pipeline_model_parallel_size") or 1,
        virtual=virtual_stages(values),
        context=values.get("context_parallel_size") or 1,
        expert=values.get("expert_model_parallel_size") or 1,
        expert_tensor=tensor if expert_tensor is None else expert_tensor,
        pipeline_before_data=bool(values.get("use_tp_pp_dp_mapping")),
    )


def virtual_stages(values: Mapping[str, Any]) -> int | None:
    """Virtual stages per process that the two keys for it ask for; a pipeline layout string says it by itself."""
    direct = values.get("num_virtual_stages_per_pipeline_rank")
    if direct is not None:
        return int(direct)
    layers_per_stage = values.get("num_layers_per_virtual_pipeline_stage")
    if layers_per_stage is None:
        return None
    layers = values.get("num_layers") or 0
    layers += bool(values.get("account_for_embedding_in_pipeline_split"))
    layers += bool(values.get("account_for_loss_in_pipeline_split"))
    return max(1, layers // (values.get("pipeline_model_parallel_size") or 1) // int(layers_per_stage))

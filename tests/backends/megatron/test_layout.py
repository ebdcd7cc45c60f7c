"""Who does what among the processes."""

from __future__ import annotations

from typing import Any

import pytest

from primus.backends.megatron.layout import layout_of


def test_processes_that_no_model_needs_hold_replicas() -> None:
    layout = layout_of({"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2}, 16)
    assert (layout.model, layout.data) == (4, 4)


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        ({}, 0),
        ({"tensor_model_parallel_size": 4}, 0),
        ({"pipeline_model_parallel_size": 2}, 4),
        ({"pipeline_model_parallel_size": 4, "tensor_model_parallel_size": 2}, 6),
        ({"pipeline_model_parallel_size": 2, "use_tp_pp_dp_mapping": True}, 1),
        ({"pipeline_model_parallel_size": 2, "tensor_model_parallel_size": 2, "use_tp_pp_dp_mapping": True}, 2),
    ],
)
def test_first_process_of_the_last_stage_reports(values: dict[str, Any], rank: int) -> None:
    assert layout_of(values, 8).reporting_rank == rank


@pytest.mark.parametrize(
    ("values", "stages"),
    [
        ({}, None),
        ({"num_virtual_stages_per_pipeline_rank": 3}, 3),
        ({"num_layers": 16, "pipeline_model_parallel_size": 4, "num_layers_per_virtual_pipeline_stage": 2}, 2),
        (
            {
                "num_layers": 14,
                "account_for_embedding_in_pipeline_split": True,
                "account_for_loss_in_pipeline_split": True,
                "pipeline_model_parallel_size": 4,
                "num_layers_per_virtual_pipeline_stage": 1,
            },
            4,
        ),
    ],
)
def test_virtual_stages_follow_from_either_key(values: dict[str, Any], stages: int | None) -> None:
    assert layout_of(values, 8).virtual == stages


def test_experts_are_split_like_the_rest_unless_told() -> None:
    assert layout_of({"tensor_model_parallel_size": 4}, 8).expert_tensor == 4
    assert layout_of({"tensor_model_parallel_size": 4, "expert_tensor_parallel_size": 1}, 8).expert_tensor == 1

"""Every way to divide a model among processes computes the same: it continues a single process' checkpoint with the
losses of that process."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import MegatronRun, Start

pytestmark = pytest.mark.real

LAYOUTS: dict[str, dict[str, Any]] = {
    "data": {},
    "tensor": {"tensor_model_parallel_size": 2},
    "tensor-sequence": {"tensor_model_parallel_size": 2, "sequence_parallel": True},
    "pipeline": {"pipeline_model_parallel_size": 2},
    "pipeline-interleaved": {"pipeline_model_parallel_size": 2, "num_virtual_stages_per_pipeline_rank": 2},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_processes_continue_as_one_does(layout: str, train: Start, straight: MegatronRun) -> None:
    run = train(layout, processes=2, after=straight, at=10, disable_last_saving=True, **LAYOUTS[layout])
    expected = straight.metric("loss")
    losses = run.metric("loss")
    assert sorted(losses) == list(range(11, 21))
    assert losses == pytest.approx({step: expected[step] for step in losses}, rel=1e-4)

"""Pipeline layouts as text or lists, and their faults. tests/real/megatron compares with megatron.core's reader."""

from __future__ import annotations

from typing import Any

import pytest

from primus.backends.megatron.pipeline_layout import fault, read_layout

E, T, M, L = "embedding", "decoder", "mtp", "loss"


@pytest.mark.parametrize(
    ("layout", "stages"),
    [
        ("Ett|ttL", [[E, T, T], [T, T, L]]),
        ("E,t*3|(tt|)*2,m|L", [[E, T, T, T], [T, T], [T, T], [M], [L]]),
        ("E|(t|t)*2|L", [[E], [T], [T, T], [T], [L]]),
        ("E||t L", [[E], [], [T, L]]),
        ([["embedding", "decoder"], ["t", "loss"]], [[E, T], [T, L]]),
    ],
)
def test_layouts_unfold(layout: str | list[Any], stages: list[list[str]]) -> None:
    assert read_layout(layout) == stages


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("Ett|xxL", "`x` is no layer"),
        ([1, 2], "`1` is no stage"),
        ("E(t|)*100000L", "more than 10,000"),
        ("Ett|tt|L", "3 stages, which pipeline_model_parallel_size 2 does not divide"),
        ("tt|ttL", "begin with the embedding"),
        ("EttE|ttL", "begin with the embedding"),
        ("Ett|tt", "end with the loss"),
        ("Ett|tttL", "5 decoder layers, but num_layers is 4"),
        ("Ett|ttmL", "1 mtp layers, but mtp_num_layers is 0"),
    ],
)
def test_faults_are_named(layout: str | list[Any], words: str) -> None:
    assert words in str(fault(layout, stages=2, num_layers=4, mtp_num_layers=0))


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("Ett|ttmL", None),
        ("E|tt|tt|mL", None),
        ("Ettm|ttL", "come after the last decoder layer"),
        ("Em|tt|tt|L", "last virtual one"),
    ],
)
def test_prediction_layers_come_last(layout: str, words: str | None) -> None:
    found = fault(layout, stages=2, num_layers=4, mtp_num_layers=1)
    assert (found is None) if words is None else words in str(found)

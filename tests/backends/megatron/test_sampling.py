"""Every sample is read once per pass, by one replica, in the same order for every layout."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.backends.megatron.sampling import MicroBatches
from primus.errors import ExperimentError


def read(total: int, replicas: int, *, size: int = 2, consumed: int = 0, count: int = 12) -> list[int]:
    """`count` samples in the order in which all replicas together take them."""
    readers = [
        iter(MicroBatches(total, consumed=consumed, size=size, rank=rank, replicas=replicas, seed=None))
        for rank in range(replicas)
    ]
    rounds = count // (size * replicas)
    return [sample for _ in range(rounds) for reader in readers for sample in next(reader)]


@given(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3]))
def test_layout_does_not_matter(one: int, other: int) -> None:
    assert read(12, one) == read(12, other) == list(range(12))


def test_next_pass_follows_the_last_whole_micro_batch() -> None:
    assert read(7, 1, count=12) == [0, 1, 2, 3, 4, 5] * 2


@given(st.integers(0, 5))
def test_resumed_reader_goes_on_where_the_other_stopped(batches: int) -> None:
    whole = read(8, 2, count=40)
    assert read(8, 2, consumed=4 * batches, count=20) == whole[4 * batches : 4 * batches + 20]


def test_too_little_data_is_an_error() -> None:
    with pytest.raises(ExperimentError, match="the data has 3 samples; one micro-batch of all replicas needs 4"):
        read(3, 2)


def test_each_pass_has_an_order_of_its_own_when_shuffled() -> None:
    pytest.importorskip("torch")
    reader = iter(MicroBatches(6, consumed=0, size=1, rank=0, replicas=1, seed=1))
    first, second = ([batch[0] for batch in islice(reader, 6)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second

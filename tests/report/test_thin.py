from __future__ import annotations

import math
from array import array

from hypothesis import given
from hypothesis import strategies as st

from primus.report.thin import thin

NUMBERS = st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")), min_size=1, max_size=300)


def test_a_single_spike_among_a_million_steps_stays():
    values = array("d", [1.0]) * 1_000_000
    values[123_456], values[900_001] = 77.0, -5.0

    points = thin(range(1_000_000), values, (), 1000)

    kept = dict(zip(points.x, points.y, strict=True))
    assert kept[123_456] == 77.0
    assert kept[900_001] == -5.0
    assert len(points.x) <= 2002


def test_values_that_are_no_numbers_stay_where_they_were_reported():
    values = array("d", [1.0]) * 10_000
    for position, value in ((5000, float("nan")), (7000, float("inf"))):
        values[position] = value

    points = thin(range(10_000), values, [5000, 7000], 100)

    kept = dict(zip(points.x, points.y, strict=True))
    assert (kept[5000], kept[7000]) == ("NaN", "Infinity")


def test_what_was_not_reported_is_no_point():
    assert thin([1, 2, 3], array("d", [float("nan"), 2.0, float("nan")]), (), 10).x == [2]


@given(NUMBERS, st.integers(1, 50))
def test_extremes_and_ends_always_stay_and_points_are_in_order(values: list[float], buckets: int):
    points = thin(range(len(values)), array("d", values), (), buckets)

    finite = [value for value in values if math.isfinite(value)]
    numbers = [value for value in points.y if isinstance(value, float)]
    if finite:
        assert math.isclose(max(numbers), max(finite), rel_tol=1e-5)
        assert math.isclose(min(numbers), min(finite), rel_tol=1e-5)
    assert points.x == sorted(set(points.x))
    assert len(points.x) <= 2 * buckets + 2

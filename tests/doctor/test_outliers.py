from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from primus.doctor.outliers import differ, high, low, spread_of

SPEEDS = {"a": 100.0, "b": 101.0, "c": 99.0, "d": 100.5, "e": 70.0}


def test_a_slow_one_among_several_stands_out():
    assert low(SPEEDS) == {"e": 70.0}
    assert high(SPEEDS) == {}


def test_a_high_one_stands_out_on_the_other_side():
    assert high({**SPEEDS, "e": 140.0}) == {"e": 140.0}


def test_where_all_are_scattered_none_stands_out():
    assert low({"a": 100.0, "b": 80.0, "c": 60.0, "d": 90.0, "e": 70.0}) == {}


def test_values_within_a_twentieth_are_alike_however_close_the_others_are():
    assert low({"a": 100.0, "b": 100.0, "c": 100.0, "d": 100.0, "e": 96.0}) == {}


def test_of_three_none_is_called_odd():
    assert low({"a": 100.0, "b": 100.0, "c": 10.0}) == {}


def test_two_differ_when_their_own_spread_does_not_explain_it():
    assert differ({"a": (100.0, 1.0), "b": (60.0, 1.0)}) == ("b", "a")
    assert differ({"a": (100.0, 10.0), "b": (60.0, 10.0)}) is None
    assert differ({name: (value, 0.0) for name, value in SPEEDS.items()}) is None


@given(st.dictionaries(st.integers(), st.floats(1, 1e6), min_size=4, max_size=30), st.floats(0.001, 1000))
def test_the_unit_does_not_matter(values, factor):
    spread = spread_of(values)
    near = any(abs(abs(spread.median - value) - spread.far) < 1e-6 * spread.median for value in values.values())
    if not near:
        assert low(values).keys() == low({key: value * factor for key, value in values.items()}).keys()


@given(st.dictionaries(st.integers(), st.floats(1, 1e6), min_size=4, max_size=30))
def test_most_are_never_odd(values):
    assert len(low(values)) <= len(values) / 2

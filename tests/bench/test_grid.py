from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.bench.grid import LARGEST, parse_grid
from primus.errors import UsageError


def test_every_combination_is_there_and_the_last_key_changes_fastest():
    points = parse_grid(["a=1,2", "b.c=x,y"])
    assert points == [("a=1", "b.c=x"), ("a=1", "b.c=y"), ("a=2", "b.c=x"), ("a=2", "b.c=y")]


def test_commas_of_a_list_do_not_split_it():
    assert parse_grid(["a=[1, 2],[3,4]"]) == [("a=[1, 2]",), ("a=[3,4]",)]


def test_a_value_that_is_given_twice_is_tried_once():
    assert parse_grid(["a=1,1, 2"]) == [("a=1",), ("a=2",)]


@pytest.mark.parametrize("text", ["", "a", "=1", "a=", "a=1,,2"])
def test_what_is_no_list_of_values_is_refused(text):
    with pytest.raises(UsageError, match="expected KEY=VALUE,VALUE"):
        parse_grid([text])


def test_a_key_that_is_varied_twice_is_refused():
    with pytest.raises(UsageError, match="a is varied twice"):
        parse_grid(["a=1,2", "a=3"])


def test_a_grid_that_is_far_too_large_is_refused():
    with pytest.raises(UsageError, match=f"{LARGEST} are the most"):
        parse_grid([f"a={','.join(map(str, range(LARGEST + 1)))}"])


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True), min_size=1, max_size=3))
def test_there_are_as_many_points_as_the_product_of_the_values(axes):
    expected = 1
    for values in axes:
        expected *= len(values)
    points = parse_grid([f"k{n}={','.join(map(str, values))}" for n, values in enumerate(axes)])
    assert len(set(points)) == expected

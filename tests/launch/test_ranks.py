"""The words of --ranks."""

from __future__ import annotations

import pytest

from primus.errors import UsageError
from primus.job import Resources
from primus.launch.ranks import chosen_ranks, shown_ranks

NODES = [Resources(nnodes=2, nproc_per_node=4, node_rank=rank) for rank in (0, 1)]


@pytest.mark.parametrize(
    ("wanted", "here"),
    [
        ("0", [(0,), ()]),
        ("0,last", [(0,), (7,)]),
        ("first", [(0,), (4,)]),
        ("all", [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ("2-5", [(2, 3), (4, 5)]),
        (" 1 , 3-3,1", [(1, 3), ()]),
    ],
)
def test_each_node_shows_its_own_of_the_ranks_that_were_asked_for(wanted, here):
    assert [chosen_ranks(wanted, node, {}) for node in NODES] == here


def test_without_a_wish_it_is_the_backends_choice():
    assert chosen_ranks(None, NODES[0], {}) is None
    assert chosen_ranks(None, NODES[0], {"LOCAL_RANKS_FILTER": ""}) is None


def test_the_originals_variable_counts_within_each_node():
    environ = {"LOCAL_RANKS_FILTER": "0,3"}
    assert [chosen_ranks(None, node, environ) for node in NODES] == [(0, 3), (4, 7)]
    assert chosen_ranks("1", NODES[0], environ) == (1,)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("8", "--ranks 8: the ranks are 0 to 7"),
        ("3-1", "--ranks 3-1: the ranks are 0 to 7"),
        ("lst", "--ranks: 'lst' names no rank; expected numbers"),
        ("", "--ranks: '' names no rank"),
        ("0,,1", "names no rank"),
        ("-1", "names no rank"),
    ],
)
def test_what_names_no_rank_is_wrong_usage(wanted, text):
    with pytest.raises(UsageError, match=text):
        chosen_ranks(wanted, NODES[0], {})


def test_a_local_rank_that_no_node_has_is_wrong_usage():
    with pytest.raises(UsageError, match="LOCAL_RANKS_FILTER 4: the ranks are 0 to 3"):
        chosen_ranks(None, NODES[1], {"LOCAL_RANKS_FILTER": "0,4"})


@pytest.mark.parametrize(
    ("ranks", "text"), [((3,), "rank 3"), ((0, 1, 2), "ranks 0-2"), ((0, 2, 3, 9), "ranks 0,2-3,9")]
)
def test_ranks_are_shown_in_short(ranks, text):
    assert shown_ranks(ranks) == text

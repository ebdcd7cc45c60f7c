from __future__ import annotations

import itertools

import pytest

from primus.doctor.plan import bus_factor, rounds, steps


@pytest.mark.parametrize("members", [2, 3, 4, 7, 8, 16])
def test_each_member_meets_every_other_once_and_one_at_a_time(members):
    met = [frozenset(pair) for each in rounds(members, members) for pair in each.items()]
    assert sorted(met, key=sorted) == sorted(
        [frozenset(pair) for pair in itertools.combinations(range(members), 2)] * 2, key=sorted
    )
    assert all(each[each[member]] == member for each in rounds(members, members) for member in each)


def test_of_many_rounds_some_are_taken():
    assert len(rounds(64, 3)) == 3
    assert len({partner for each in rounds(64, 3) for partner in [each[0]]}) == 3


def test_one_process_measures_its_device_only():
    assert [step.name for step in steps(precisions=["fp32"], nnodes=1, per_node=1)] == ["gemm fp32", "memory copy"]


def test_several_nodes_measure_inside_and_between():
    names = [step.name for step in steps(precisions=[], nnodes=2, per_node=2)]
    assert {"all_reduce node", "all_reduce all", "pairs node", "pairs all", "ring all"} <= set(names)


def test_nodes_with_one_process_have_no_inside():
    assert not [step for step in steps(precisions=[], nnodes=2, per_node=1) if step.scope == "node"]


def test_the_factors_are_those_of_nccl_tests():
    assert bus_factor("all_reduce", 8) == pytest.approx(1.75)
    assert bus_factor("all_gather", 8) == bus_factor("all_to_all", 8) == pytest.approx(0.875)
    assert bus_factor("pairs", 8) == bus_factor("ring", 8) == 1

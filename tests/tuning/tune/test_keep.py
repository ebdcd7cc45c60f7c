"""Which problems get a row, and in which order."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from primus.tuning.gemm import Gemm
from primus.tuning.measure_process import Failure
from primus.tuning.measure_times import Comparison, Times
from primus.tuning.results import Results, rows_of
from primus.tuning.tune.engine import Found, Machine
from primus.tuning.tune.journal import Entry
from primus.tuning.tune.keep import decide, winner_of

MACHINE = Machine(revision="fa9cdd18", architecture="gfx942", compute_units=304, generation="G2", gpus=())


def entry(gemm: Gemm, default: float, tuned: float, indices: tuple[int, int] = (1, 2)) -> Entry:
    comparison = Comparison(default=Times(samples=(default,) * 3), tuned=Times(samples=(tuned,) * 3))
    found = Found(default_index=indices[0], tuned_index=indices[1], comparison=comparison, solutions=2, rejected={})
    return Entry(gemm=gemm, answer=found, calls=1, max_workspace=0, time_limit=1.0, seconds=0.0, gpu=0)


def plain(m: int, **others: object) -> Gemm:
    return Gemm.single(m=m, n=8, k=8, a_type="f32_r", **others)


def test_problems_of_other_runs_keep_their_weight():
    decided = decide([entry(plain(8), 9.0, 8.0), entry(plain(16), 2.0, 1.0)], {plain(16): 100}, MACHINE)
    assert [row.key.m for row in decided.rows] == [8, 16]


def test_the_same_kernel_for_both_is_no_collision():
    one, other = plain(8), plain(8, beta=1.0)
    decided = decide([entry(one, 3.0, 1.0), entry(other, 2.0, 1.0)], {one: 1, other: 1}, MACHINE)
    assert [each.state for each in decided.decisions] == ["kept", "kept"]
    assert not decided.notes


def test_a_failed_problem_takes_nothing_from_those_with_its_key():
    one, other = plain(8), plain(8, beta=1.0)
    failed = Entry(
        gemm=other,
        answer=Failure(kind="timeout", message="late"),
        calls=99,
        max_workspace=0,
        time_limit=1.0,
        seconds=0.0,
        gpu=0,
    )
    decided = decide([entry(one, 3.0, 1.0), failed], {one: 1, other: 99}, MACHINE)
    assert {each.gemm: each.state for each in decided.decisions} == {one: "kept", other: "failed"}
    assert len(decided.rows) == 1


def test_earlier_rows_stay_unless_their_problem_was_tuned_now():
    before = decide([entry(plain(8), 3.0, 1.0), entry(plain(16), 3.0, 1.0)], {}, MACHINE)
    rows, _ = rows_of([winner_of(each, MACHINE) for each in before.decisions], "G2")
    earlier = Results(path=Path("earlier"), version="fa9cdd18", rows=rows)
    decided = decide([entry(plain(16), 3.0, 2.0, (1, 5))], {}, MACHINE, earlier)
    assert [(row.key.m, row.solution_index) for row in decided.rows] == [(8, 2), (16, 5)]


def test_a_row_that_the_reader_can_not_take_is_told():
    decided = decide([entry(plain(8), 3.0, 1.0, (1, 0))], {}, MACHINE)
    assert not decided.rows
    assert "it takes no solution 0" in decided.notes[0]


GROUPS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.booleans(),
        st.sampled_from([1.0, 2.0, 4.0]),
        st.sampled_from([1.0, 2.0, 3.0]),
        st.integers(2, 4),
    ),
    unique_by=lambda each: each[:2],
)


@given(GROUPS, st.randoms())
def test_of_each_key_the_last_row_is_the_best_of_its_heaviest_problem(each, random):
    """And the order in which shapes were tuned does not matter."""
    entries = [entry(plain(m, beta=float(beta)), default, tuned, (1, i)) for m, beta, default, tuned, i in each]
    decided = decide(entries, {}, MACHINE)
    last = {row.key: row.solution_index for row in decided.rows}
    for key in {one.gemm.key("G2") for one in entries}:
        group = [one for one in decided.decisions if one.gemm.key("G2") == key]
        heaviest = group[-1]
        assert heaviest.weight == max(one.weight for one in group)
        wanted = heaviest.entry.found
        assert wanted is not None
        assert last.get(key) == (wanted.tuned_index if heaviest.state == "kept" else None)
    random.shuffle(entries)
    assert decide(entries, {}, MACHINE).rows == decided.rows

"""The journal of stage 2: what is in it survives whatever ends the tuner."""

from __future__ import annotations

from pathlib import Path

import pytest

from primus.tuning.child import HIP_KINDS, LIBRARY_KINDS
from primus.tuning.gemm import Gemm
from primus.tuning.measure_process import Failure
from primus.tuning.measure_times import Comparison, Times
from primus.tuning.tune.bench_output import REASONS
from primus.tuning.tune.engine import KINDS, Found, Machine
from primus.tuning.tune.journal import Entry, Journal, stamp_of

MACHINE = Machine(revision="fa9cdd18", architecture="gfx942", compute_units=304, generation="G2", gpus=())
FOUND = Found(
    default_index=1,
    tuned_index=2,
    comparison=Comparison(default=Times(samples=(2.0, 2.1)), tuned=Times(samples=(1.0, 1.1))),
    solutions=9,
    rejected={"7": "it crashed"},
    error=0.0,
)


def entry(m: int, answer: Found | Failure = FOUND, **others: float) -> Entry:
    gemm = Gemm.single(m=m, n=8, k=8, a_type="f32_r", alpha=-1.5)
    limits = {"max_workspace": 64, "time_limit": 10.0} | others
    return Entry(gemm=gemm, answer=answer, calls=3, seconds=1.5, gpu=2, **limits)


def written(path: Path, *entries: Entry) -> None:
    journal = Journal(path, MACHINE)
    for each in entries:
        journal.add(each)
    journal.close()


def read(path: Path) -> list[Entry]:
    journal = Journal(path, MACHINE)
    journal.close()
    return list(journal.snapshot().values())


def test_entries_come_back_as_they_were(tmp_path: Path):
    entries = [entry(8), entry(16, Failure(kind="crashed", message="signal 11", trying=4, crashed=True))]
    written(tmp_path / "journal", *entries)
    assert read(tmp_path / "journal") == entries
    assert stamp_of(tmp_path / "journal") == {
        "revision": "fa9cdd18",
        "architecture": "gfx942",
        "compute_units": 304,
    }


def test_the_newest_entry_of_a_problem_counts(tmp_path: Path):
    written(tmp_path / "journal", entry(8, Failure(kind="hip", message="")), entry(8))
    assert read(tmp_path / "journal") == [entry(8)]


def test_cut_off_at_any_byte_the_whole_entries_are_there_and_it_goes_on(tmp_path: Path):
    path, entries = tmp_path / "journal", [entry(8), entry(16), entry(24)]
    written(path, *entries)
    text = path.read_bytes()
    for end in range(0, len(text) + 1, 7):
        path.write_bytes(text[:end])
        whole = max(text[:end].count(b"\n") - 1, 0)
        assert read(path) == entries[:whole]
        written(path, *entries[whole:])
        assert read(path) == entries


def test_damaged_lines_are_counted_and_the_others_read(tmp_path: Path):
    path = tmp_path / "journal"
    written(path, entry(8), entry(16))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[1][:50] + "\n", '{"problem": 3}\n', lines[2]]))
    journal = Journal(path, MACHINE)
    journal.close()
    assert (list(journal.snapshot().values()), journal.damaged) == ([entry(16)], 2)


def test_a_journal_without_its_stamp_is_known_as_none(tmp_path: Path):
    path = tmp_path / "journal"
    assert stamp_of(path) is None
    path.write_text('{"journal"')
    assert stamp_of(path) is None, "killed while it began"
    path.write_text("something\n")
    assert stamp_of(path) == {}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_failure_that_can_pass_is_no_answer_for_ever(kind: str):
    failed = entry(8, Failure(kind=kind, message=""))
    assert failed.holds_for(64, 10.0) is not KINDS[kind].on_resume
    assert failed.holds_for(64, 20.0) is not (KINDS[kind].on_resume or kind == "timeout")


def test_an_answer_holds_for_its_workspace_limit_only():
    assert entry(8).holds_for(64, 99.0)
    assert not entry(8).holds_for(128, 10.0)


def test_every_kind_of_failure_says_what_comes_of_it():
    bench = {kind for _, kind in REASONS} | {"timeout", "crashed", "no-row"}
    child = {*HIP_KINDS.values(), *LIBRARY_KINDS.values(), "hip", "library", "no-solution", "missing", "bad-request"}
    assert bench | child | {"meaningless", "unsupported"} == set(KINDS)

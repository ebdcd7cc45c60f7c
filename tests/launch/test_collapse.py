"""Several logs become one text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from primus.launch.collapse import DELAY, Collapse

TRACE = b"""Traceback (most recent call last):
  File "a.py", line 1, in <module>
    f()
ValueError: no
"""
CHAINED = (
    TRACE + b"\nDuring handling of the above exception, another exception occurred:\n\n" + TRACE.replace(b"no", b"yes")
)


def joined(*said, ranks=(0, 1, 2)):
    """What comes of (rank, lines) that arrive at the same time."""
    collapse = Collapse(ranks)
    for rank, lines in said:
        collapse.add(rank, lines, 0.0)
    return collapse.rest().decode()


def test_the_same_line_of_all_ranks_is_shown_once_and_at_once():
    collapse = Collapse((0, 1, 2))
    for rank in (2, 0, 1):
        collapse.add(rank, b"hello\n", 0.0)
    assert collapse.take(0.0) == b"[ranks 0-2] hello\n"


def test_a_line_waits_for_the_other_ranks_but_not_for_long():
    collapse = Collapse((0, 1, 2))
    collapse.add(0, b"hello\n", 1.0)
    assert collapse.take(1.1) == b""
    assert collapse.take(1.1 + DELAY) == b"[rank 0] hello\n"


def test_each_rank_keeps_its_order():
    assert joined((0, b"a\nb\n"), (1, b"b\na\n")) == "[rank 0] a\n[ranks 0-1] b\n[rank 1] a\n"


def test_a_line_that_is_repeated_stays_repeated():
    assert joined((0, b"a\na\n"), (1, b"a\n"), (2, b"a\na\n")) == "[ranks 0-2] a\n[ranks 0,2] a\n"


def test_a_traceback_stays_in_one_piece():
    collapse = Collapse((0, 1))
    lines = CHAINED.splitlines(keepends=True)
    for line in lines:
        collapse.add(0, line, 0.0)
        collapse.add(1, line.replace(b"no", b"nothing"), 0.0)
    text = collapse.rest().decode()
    assert text.startswith("".join(f"[rank 0] {line.decode()}" for line in lines[:4]))


def test_the_same_traceback_of_many_ranks_is_shown_once():
    assert joined((0, CHAINED), (1, CHAINED), (2, CHAINED)) == "".join(
        f"[ranks 0-2] {line}" for line in CHAINED.decode().splitlines(keepends=True)
    )


def test_half_a_traceback_does_not_wait_for_ever():
    collapse = Collapse((0, 1))
    collapse.add(0, TRACE[:60], 0.0)
    assert collapse.take(DELAY / 2) == b""
    assert collapse.take(DELAY).startswith(b"[rank 0] Traceback")


def test_indented_lines_stay_below_their_line():
    first, second = b"config:\n  a: 1\n", b"config:\n  a: 2\n"
    text = joined((0, first), (1, second), (2, first))
    assert text == "[ranks 0,2] config:\n[ranks 0,2]   a: 1\n[rank 1] config:\n[rank 1]   a: 2\n"


WORDS = st.sampled_from([b"a\n", b"b\n", b"  c\n", b"\n", b"Traceback (most recent call last):\n", b"E: x\n"])


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(WORDS, max_size=6), st.floats(0, 0.3)), max_size=12))
def test_what_a_rank_says_comes_out_whole_and_in_order(said):
    collapse, now, text = Collapse((0, 1, 2)), 0.0, b""
    for rank, lines, pause in said:
        now += pause
        collapse.add(rank, b"".join(lines), now)
        text += collapse.take(now)
    text += collapse.rest()
    shown = dict.fromkeys(range(3), b"")
    for marks, line in re.findall(rb"\[ranks? ([0-9,-]+)\] (.*\n)", text):
        for part in marks.split(b","):
            low, _, high = part.partition(b"-")
            for rank in range(int(low), int(high or low) + 1):
                shown[rank] += line
    assert shown == {rank: b"".join(b"".join(lines) for each, lines, _ in said if each == rank) for rank in range(3)}

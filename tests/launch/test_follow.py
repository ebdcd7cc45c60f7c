"""Reading files that are still being written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.launch.follow import Follower, Metrics


@pytest.fixture
def log(tmp_path):
    return tmp_path / "rank0.log"


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def test_a_file_that_does_not_exist_yet_has_no_lines(log):
    follower = Follower(log)
    assert follower.read() == b""
    append(log, b"first\n")
    assert follower.read() == b"first\n"


def test_half_a_line_waits_for_its_end(log):
    follower = Follower(log)
    append(log, b"one\ntw")
    assert follower.read() == b"one\n"
    append(log, b"o\n")
    assert follower.read() == b"two\n"


def test_the_last_line_needs_no_newline(log):
    follower = Follower(log)
    append(log, b"one\ntwo")
    assert (follower.read(), follower.rest(), follower.rest()) == (b"one\n", b"two", b"")


def test_a_line_without_end_is_passed_on_in_pieces(log):
    follower = Follower(log)
    append(log, b"x" * 100_000)
    assert follower.read() == b"x" * 100_000


def test_skipping_keeps_the_newest_whole_lines(log):
    follower = Follower(log)
    append(log, b"begin\n")
    follower.read()
    append(log, b"".join(b"line %05d\n" % number for number in range(1000)))
    skipped = follower.skip(keep=105)
    assert follower.read() == b"".join(b"line %05d\n" % number for number in range(991, 1000))
    assert skipped == 11 * 991


def test_a_short_backlog_is_not_skipped(log):
    follower = Follower(log)
    append(log, b"one\n")
    follower.read()
    append(log, b"two\n")
    assert follower.skip(keep=100) == 0
    assert follower.read() == b"two\n"


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_nothing_is_lost_or_doubled_however_the_writes_fall(tmp_path_factory, chunks):
    path = tmp_path_factory.mktemp("follow") / "log"
    follower, seen = Follower(path), b""
    for chunk in chunks:
        append(path, chunk)
        seen += follower.read()
        assert not seen or seen.endswith(b"\n")
    assert seen + follower.rest() == b"".join(chunks)
    follower.close()


def test_metrics_are_read_as_they_come(log):
    metrics = Metrics(log)
    append(log, json.dumps({"step": 1}).encode() + b'\n{"step"')
    assert list(metrics.read()) == [{"step": 1}]
    append(log, b": 2}\n")
    assert list(metrics.read()) == [{"step": 2}]


def test_a_broken_line_of_metrics_is_passed_over(log):
    append(log, b'{"step": 1, "lo{"step": 2}\n{"step": 3}\n')
    assert list(Metrics(log).read()) == [{"step": 3}]


def test_metrics_that_were_replaced_are_read_from_their_beginning(log, tmp_path):
    append(log, b'{"step": 1}\n{"step": 2}\n')
    metrics = Metrics(log)
    assert list(metrics.read()) == [{"step": 1}, {"step": 2}]
    (tmp_path / "shorter").write_bytes(b'{"step": 1}\n')
    (tmp_path / "shorter").rename(log)
    assert list(metrics.read()) == [{"step": 1}]


def test_a_log_is_read_through_its_rotations_to_the_last_line(log):
    follower = Follower(log)
    append(log, b"one\n")
    assert follower.read() == b"one\n"
    rotate(log)
    append(log.with_name("rank0.log.1"), b"two\n")  # a write that was under way
    append(log, b"three\n")
    assert everything(follower) == b"two\nthree\n"
    assert not follower.is_replaced()


def test_a_log_that_was_rotated_twice_is_read_in_order(log):
    follower = Follower(log)
    append(log, b"one\n")
    follower.read()
    append(log, b"two\n")
    rotate(log)
    append(log, b"three\n")
    rotate(log)
    append(log, b"four\n")
    assert everything(follower) == b"two\nthree\nfour\n"


def rotate(log):
    log.replace(log.with_name(f"{log.name}.1"))
    log.touch()


def everything(follower):
    """All lines that are there, however many turns it takes."""
    return b"".join(follower.read() for _ in range(12))

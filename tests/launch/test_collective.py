"""Which ranks a collective that timed out was waiting for."""

from __future__ import annotations

from primus.launch.collective import missing_ranks


def timeout(rank, work, enqueued=None):
    """As in https://github.com/XPixelGroup/BasicSR/issues/737, shortened."""
    said = f"[Rank {rank}] Watchdog caught collective operation timeout: WorkNCCL(SeqNum={work}, OpType=ALLREDUCE, "
    enqueued = work + 3 if enqueued is None else enqueued
    return f"{said}\nat work: {work}, last enqueued NCCL work: {enqueued}, last completed NCCL work: {work - 1}.\n"


def test_a_rank_whose_watchdog_says_nothing_was_missing():
    assert missing_ranks({0: timeout(0, 8), 1: "step 7\n", 2: timeout(2, 8)}) == ([1], "work 8 (ALLREDUCE)")


def test_a_rank_that_is_behind_was_missing():
    behind = "at work: 5, last enqueued work: 6, last completed work: 4."
    assert missing_ranks({0: timeout(0, 8), 1: behind})[0] == [1]


def test_a_rank_that_was_ahead_took_part():
    assert missing_ranks({0: timeout(0, 8), 1: timeout(1, 9, enqueued=9)})[0] == []


def test_when_all_wait_none_was_missing():
    assert missing_ranks({rank: timeout(rank, 8) for rank in range(4)})[0] == []


def test_without_a_timeout_nothing_is_said():
    assert missing_ranks({0: "step 7", 1: ""}) == ([], "")

"""When a failed job is started again, and when that would be in vain."""

from __future__ import annotations

import pytest

from primus.launch.diagnosis import diagnose
from primus.launch.record import Outcome
from primus.launch.restart import Ending, pause_before, refusal

DIVERGED = "step {} (sequences 0 to 7): the gradient norm is nan; the weights were not changed"


def ending(message="killed from outside", status=137, step=7, checkpoint="c5", **fields):
    found = diagnose([message], status)
    diagnosis = found[0] if found else None
    outcome = Outcome(
        state="failed", exit_status=status, cause=f"rank 0: {message}", text="", diagnosis=diagnosis, **fields
    )
    return Ending(outcome=outcome, step=step, checkpoint=checkpoint)


def test_a_killed_worker_is_worth_another_attempt():
    assert refusal([ending()], 1) is None


def test_restarts_are_counted():
    endings = [ending(step=7), ending(step=8), ending(step=9)]
    assert refusal(endings[:2], 2) is None
    assert refusal(endings, 2) == "--max-restarts 2 is used up"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(2, "wrong usage does not pass"), (3, "the experiment is wrong"), (4, "what is missing here stays missing")],
)
def test_what_the_user_has_to_mend_is_not_tried_again(status, reason):
    assert reason in refusal([ending("it is so", status)], 3)


def test_a_known_cause_that_stays_is_not_tried_again():
    full = ending("OSError: [Errno 28] No space left on device", 1)
    assert refusal([full], 3) == "this does not pass by itself (disk-full)"


def test_a_missing_thing_that_may_come_back_is_tried_again():
    limited = ending("429 Client Error: Too Many Requests for url: https://huggingface.co/x", 4)
    assert limited.outcome.diagnosis.name == "hub-rate-limit"
    assert refusal([limited], 3) is None


def test_a_divergence_is_tried_again_once():
    assert refusal([ending(DIVERGED.format(9), 1)], 3) is None


def test_a_divergence_at_the_same_step_is_not_tried_again():
    endings = [ending(DIVERGED.format(9), 1), ending(step=8), ending(DIVERGED.format(9), 1, step=8, checkpoint="c8")]
    assert refusal(endings, 5) == "step 9 was no finite number before: it would be again"


def test_a_divergence_at_another_step_is_tried_again():
    assert refusal([ending(DIVERGED.format(9), 1), ending(DIVERGED.format(12), 1, step=11)], 5) is None


def test_the_same_failure_without_progress_is_not_tried_again():
    assert "come no further" in refusal([ending(), ending()], 5)


def test_numbers_in_a_message_do_not_make_it_another_failure():
    first, second = ending("strange thing at 0x12", 1), ending("strange thing at 0x77", 1)
    assert "come no further" in refusal([first, second], 5)


@pytest.mark.parametrize("progress", [{"step": 8}, {"checkpoint": "c6"}])
def test_the_same_failure_after_some_progress_is_tried_again(progress):
    assert refusal([ending(), ending(**progress)], 5) is None


def test_another_failure_is_tried_again():
    assert refusal([ending(), ending("strange thing", 1)], 5) is None


def test_a_stall_is_worth_another_attempt():
    assert refusal([ending("stalled at step 7", 124)], 1) is None


def test_pauses_grow_but_not_for_ever():
    pauses = [pause_before(number) for number in range(1, 20)]
    assert pauses[:3] == [1.0, 2.0, 4.0]
    assert pauses[-1] == 60.0

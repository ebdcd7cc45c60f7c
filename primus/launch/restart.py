"""Whether a job that failed is started again, and when. Pure, apart from pause(); attempts.py asks it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from primus.errors import ExitStatus
from primus.launch.guard import STALLED
from primus.launch.record import Outcome
from primus.launch.supervise import HEARD, Interrupted

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0

_NEVER_PASS = {
    ExitStatus.USAGE: "wrong usage does not pass",
    ExitStatus.EXPERIMENT: "the experiment is wrong, which does not pass",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """What the rules need to know of a failed attempt."""

    outcome: Outcome
    step: int | None
    """The last step that is known to be done."""

    checkpoint: str | None
    """The newest checkpoint when it ended."""


def refusal(endings: Sequence[Ending], max_restarts: int) -> str | None:
    """Why the job is not started again after these failed attempts of this launcher, the newest one last; None when it
    is."""
    last, earlier = endings[-1], endings[:-1]
    outcome, diagnosis = last.outcome, last.outcome.diagnosis
    if len(endings) > max_restarts:
        return f"--max-restarts {max_restarts} is used up" if max_restarts else "--max-restarts is 0"
    if outcome.exit_status in _NEVER_PASS:
        return _NEVER_PASS[ExitStatus(outcome.exit_status)]
    if diagnosis is not None and not diagnosis.transient:
        return f"this does not pass by itself ({diagnosis.name})"
    if diagnosis is None and outcome.exit_status == ExitStatus.MISSING:
        return "what is missing here stays missing"
    if diagnosis is not None and diagnosis.name == "nan" and any(_same_divergence(last, each) for each in earlier):
        return f"step {_divergence(last)} was no finite number before: it would be again"
    if any(_same_failure(last, each) and not _further(last, each) for each in earlier):
        return "the same failure as before, and training has come no further since"
    return None


def pause_before(restart: int) -> float:
    """Seconds to wait before the n-th restart, from 1: what has failed may need a moment."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (restart - 1))


def may_pass(outcome: Outcome) -> bool:
    """Whether restarts come into question at all."""
    return outcome.state == "failed" or outcome.exit_status == STALLED


@contextmanager
def interruptible() -> Iterator[None]:
    """In here, a request to stop raises Interrupted."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.getsignal(number) for number in HEARD}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def pause(seconds: float) -> None:
    time.sleep(seconds)


def _same_divergence(one: Ending, other: Ending) -> bool:
    return _divergence(one) is not None and _divergence(one) == _divergence(other)


def _divergence(ending: Ending) -> str | None:
    """The step at which an attempt diverged."""
    diagnosis = ending.outcome.diagnosis
    return diagnosis.values.get("step") if diagnosis is not None and diagnosis.name == "nan" else None


def _same_failure(one: Ending, other: Ending) -> bool:
    return one.outcome.exit_status == other.outcome.exit_status and _kind(one) == _kind(other)


def _kind(ending: Ending) -> str:
    """The cause without its numbers, which are ranks, process ids, addresses."""
    diagnosis = ending.outcome.diagnosis
    return diagnosis.name if diagnosis is not None else re.sub(r"\d+", "#", ending.outcome.cause or "")


def _further(one: Ending, other: Ending) -> bool:
    """Whether an attempt came further than an earlier one: to a later step, or to another checkpoint."""
    return (one.step or 0) > (other.step or 0) or one.checkpoint != other.checkpoint

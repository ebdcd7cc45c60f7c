"""One attempt after another, until the job has ended well or nothing is to be hoped for. training.py calls
run_attempts(); restart.py has the rules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from primus.errors import PrimusError
from primus.job import Job
from primus.launch.care import Care
from primus.launch.local import submit
from primus.launch.record import Outcome
from primus.launch.supervise import Interrupted
from primus.run import RunDirectory, State, utc_now

if TYPE_CHECKING:
    from primus.launch.attempt import Agreed
    from primus.launch.container.render import Container
    from primus.launch.link import Link
    from primus.launch.restart import Ending


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """What `primus train` knows how to do for each attempt."""

    meet: Callable[[], tuple[Agreed, Link | None]]
    """Come together with the other nodes, when there are any."""

    plan: Callable[[Agreed], tuple[Job, Container | None]]

    newest_checkpoint: Callable[[], Path | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """What is left of a training: the status of its last attempt, and where everything about it lies."""

    exit_status: int
    run_dir: Path


def run_attempts(steps: Steps, care: Care, *, argv: Sequence[str], environ: Mapping[str, str]) -> Ended:
    """Run the job, again and again where that can help; how the last attempt ended."""
    agreed, link = steps.meet()
    endings: list[Ending] = []
    while True:
        try:
            job, container = steps.plan(agreed)
            judge = _Judge(job, care, steps.newest_checkpoint, endings)
            outcome = submit(job, argv=argv, environ=environ, container=container, care=care, link=link, judge=judge)
        except PrimusError as error:
            if link is not None:
                from primus.launch.together import tell_error  # here, so that no start waits

                tell_error(link, error)
            raise
        except Interrupted as asked:
            return _stopped(job, asked)
        finally:
            if link is not None:
                link.close()
        if outcome.again is None:
            return Ended(exit_status=outcome.exit_status, run_dir=job.run_dir)
        from primus.launch.restart import interruptible, pause  # here, so that no first attempt waits

        try:
            with interruptible():
                pause(outcome.again)
                agreed, link = steps.meet()
        except Interrupted as asked:
            return _stopped(job, asked)
        except PrimusError as error:
            _give_up(job, state="failed", exit_status=int(error.status), cause=f"not started again: {error}")
            raise


@dataclass(frozen=True, kw_only=False, slots=True)
class _Judge:
    """Decides on node 0 whether a failed attempt is followed by another one."""

    job: Job
    care: Care
    newest_checkpoint: Callable[[], Path | None]
    endings: list[Ending] = field(default_factory=list)

    def __call__(self, outcome: Outcome) -> Outcome:
        from primus.launch.restart import Ending, may_pass, pause_before, refusal

        if not may_pass(outcome) or not self.care.max_restarts:
            return outcome
        newest = self.newest_checkpoint()
        step = _last_step(self.job)
        self.endings.append(Ending(outcome=outcome, step=step, checkpoint=None if newest is None else str(newest)))
        reason = refusal(self.endings, self.care.max_restarts)
        if reason is not None:
            return replace(outcome, text=f"{outcome.text}\nNot started again: {reason}.")
        restart = len(self.endings)
        seconds = pause_before(restart)
        where = "from zero" if newest is None else f"from {newest}"
        text = f"Starts again {where} in {seconds:g} s (restart {restart} of {self.care.max_restarts})."
        return replace(outcome, state="restarting", again=seconds, text=f"{outcome.text}\n{text}")


def _last_step(job: Job) -> int | None:
    """The last step that some rank is known to have done."""
    from primus.backends.heartbeat import read_heartbeat
    from primus.launch.account import for_a_while

    run_dir, per_node = RunDirectory(job.run_dir), job.resources.nproc_per_node
    ranks = for_a_while(range(job.resources.world_size))
    beats = [read_heartbeat(run_dir.heartbeat_path(rank // per_node, rank)) for rank in ranks]
    return max((beat.step for beat in beats if beat is not None and beat.step is not None), default=None)


def _stopped(job: Job, asked: Interrupted) -> Ended:
    status, cause = 128 + asked.signal, f"stopped by {asked.signal.name}"
    print(f"{job.name}: {cause}, not started again. Run directory: {job.run_dir}", file=sys.stderr)
    _give_up(job, state="interrupted", exit_status=status, cause=cause)
    return Ended(exit_status=status, run_dir=job.run_dir)


def _give_up(job: Job, *, state: State, exit_status: int, cause: str) -> None:
    """Say in status.json that there is no next attempt after all."""
    if job.resources.node_rank != 0:
        return
    run_dir = RunDirectory(job.run_dir)
    last = run_dir.read_status()
    if last is not None:
        now = utc_now()
        ended = replace(last, state=state, exit_status=exit_status, cause=cause, updated=now, ended=now)
        try:
            run_dir.write_status(ended)
        except PrimusError as error:
            print(f"Warning: {error}", file=sys.stderr)

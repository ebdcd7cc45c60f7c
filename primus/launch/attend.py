"""Attends the workers of a node from the moment they run: shows their logs, guards them, and finds out what their end
means for the job. local.py loads this when they are on their way, so that no start waits for it."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from primus.job import Job
from primus.launch import together
from primus.launch.care import Care
from primus.launch.ending import Part, clean_end, ended_here
from primus.launch.guard import End, Guard
from primus.launch.kernel import KernelWatch
from primus.launch.link import Link
from primus.launch.record import Outcome
from primus.launch.supervise import Supervisor
from primus.launch.terminal import Screen
from primus.redact import redact_argv

if TYPE_CHECKING:
    from primus.launch.container.render import Container

_INTERVAL = 0.05
"""Seconds between two looks at the logs."""

Judge = Callable[[Outcome], Outcome]
"""Says of an outcome whether the job is started again after it."""


class Attendant:
    """Of the workers that a Supervisor has started."""

    def __init__(
        self, job: Job, supervisor: Supervisor, *, care: Care, link: Link | None, environ: Mapping[str, str]
    ) -> None:
        self._job, self._supervisor = job, supervisor
        self._link, self._environ = link or Link({}), environ
        self.screen = Screen(job, job.resources.node_rank, environ=environ)
        self._guard = Guard(job, supervisor, care, self._link, self.screen.note)

    def introduce(self, argv: Sequence[str]) -> None:
        """Say what runs; `argv` is the user's command line."""
        command = shlex.join(redact_argv(argv))
        self.screen.record(f"process {os.getpid()} on {socket.gethostname()} runs {command}")
        self.screen.note(f"{self._job.name}: {_describe(self._job)}\nRun directory: {self._job.run_dir}")

    def watch(self) -> int:
        """Show the logs until the workers have ended; their exit status."""
        told, status = False, None
        while status is None:
            status = self._supervisor.wait(_INTERVAL)
            self.screen.update()
            self._guard.look()
            asked = self._supervisor.asked
            if asked and not told:
                told = True
                self.screen.note(f"{asked.name}: stopping after this step. Once more kills the workers at once.")
        self.screen.close()
        return status

    def outcome(self, status: int, container: Container | None, kernel: KernelWatch, judge: Judge) -> Outcome:
        """How the whole job ended: node 0 hears the others, and they hear what it decides. `status` is what watch()
        returned."""
        part = Part(
            job=self._job,
            status=status,
            supervisor=self._supervisor,
            container=container,
            kernel=kernel,
            environ=self._environ,
            shown=self.screen.ranks,
        )
        guard, link = self._guard, self._link
        here, end, killed = clean_end(part), guard.end, self._supervisor.killed
        if self._job.resources.node_rank != 0:
            outcome = here if here and end is None else ended_here(part, end, ())
            together.tell(link, outcome, killed=killed, failures=outcome.failures)
            return together.decided(link, outcome, self._supervisor)
        if here is None:
            guard.finish(End(kind="failed", exit_status=status, cause="on node 0"))
        elif killed:
            guard.finish(End(kind="stopped", exit_status=here.exit_status, cause=f"on node 0: {here.cause}"))
        together.hear_all(guard, link, self._supervisor)
        if here is not None and not killed:
            end = guard.end
        outcome = here if here and end is None else ended_here(part, end, together.failures_elsewhere(guard))
        outcome = judge(outcome) if self._supervisor.asked is None else outcome
        together.decide(link, outcome)
        return outcome


def _describe(job: Job) -> str:
    resources = job.resources
    count = resources.world_size
    text = f"{job.backend}, {count} process{'es' if count > 1 else ''} on {resources.accelerator}"
    text += f", attempt {job.attempt}" if job.attempt > 1 else ""
    if resources.nnodes == 1:
        return text
    return f"{text}, {resources.nnodes} nodes, this is node {resources.node_rank}"

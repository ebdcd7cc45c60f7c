"""Runs a job on this machine, or the part of one node: starts its workers, shows and records what becomes of them.
`primus train` calls submit()."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from primus.errors import MissingError
from primus.job import Job
from primus.launch import together
from primus.launch.attempt import set_aside
from primus.launch.care import Care
from primus.launch.ending import Part, clean_end, ended_here, first_log
from primus.launch.guard import End, Guard
from primus.launch.kernel import KernelWatch
from primus.launch.link import Link
from primus.launch.record import Outcome, Record
from primus.launch.render import command, environment
from primus.launch.supervise import Supervisor
from primus.launch.terminal import Screen
from primus.lifeline import PARENT_VARIABLE
from primus.redact import redact_argv
from primus.run import RunDirectory

if TYPE_CHECKING:
    from primus.launch.container.render import Container
    from primus.launch.manifest_writer import ManifestWriter

_INTERVAL = 0.05
"""Seconds between two looks at the logs."""

Judge = Callable[[Outcome], Outcome]
"""Says of an outcome whether the job is started again after it."""

_DEFAULT_CARE = Care()


def submit(
    job: Job,
    *,
    argv: Sequence[str],
    environ: Mapping[str, str],
    container: Container | None = None,
    care: Care = _DEFAULT_CARE,
    link: Link | None = None,
    judge: Judge = lambda outcome: outcome,
) -> Outcome:
    """Run the job to its end, in the container where there is one, and say how it ended. `argv` is the user's command
    line, for the manifest; `link` leads to the launchers of the other nodes."""
    link = link or Link({})
    run_dir, node = RunDirectory(job.run_dir), job.resources.node_rank
    set_aside(run_dir, job.attempt)
    run_dir.create(job.files, node=node)
    record = Record(run_dir, job.attempt, keep=node == 0)
    workers = environment(job, environ) if container is None else dict(container.variables)
    screen = Screen(job, node, environ=environ)
    screen.record(f"process {os.getpid()} on {socket.gethostname()} runs {shlex.join(redact_argv(argv))}")
    screen.note(f"{job.name}: {_describe(job)}\nRun directory: {run_dir.path}")
    kernel = KernelWatch()
    supervisor, start = _process(job, workers, environ, container)
    supervisor.grace = care.grace
    guard = Guard(job, supervisor, care, link, screen.note)
    with supervisor:
        start(first_log(job))
        manifest = _manifest(job, argv, workers, record.status.started, container)
        record.running()
        status = _watch(supervisor, screen, guard)
        manifest.finish()
    part = Part(
        job=job,
        status=status,
        supervisor=supervisor,
        container=container,
        kernel=kernel,
        environ=environ,
        shown=screen.ranks,
    )
    outcome = _job_outcome(part, guard, link, judge, care)
    try:
        record.end(outcome)
    except MissingError as error:  # a full disk must not hide how training ended
        print(f"Warning: {error}", file=sys.stderr)
    if outcome.exit_status:
        screen.record(outcome.text)
        with suppress(OSError):  # the terminal, or a full disk behind it; the exit status is true all the same
            print(outcome.text, file=sys.stderr, flush=True)
    else:
        screen.note(outcome.text)
    return outcome


def _job_outcome(part: Part, guard: Guard, link: Link, judge: Judge, care: Care) -> Outcome:
    """How the whole job ended: node 0 hears the others, and they hear what it decides."""
    here, end, killed = clean_end(part), guard.end, part.supervisor.killed
    if part.job.resources.node_rank != 0:
        outcome = here if here and end is None else ended_here(part, end, ())
        together.tell(link, outcome, killed=killed, failures=outcome.failures)
        return together.decided(link, outcome)
    if here is None:
        guard.finish(End(kind="failed", exit_status=part.status, cause="on node 0"))
    elif killed:
        guard.finish(End(kind="stopped", exit_status=here.exit_status, cause=f"on node 0: {here.cause}"))
    together.hear_all(guard, link, care.grace)
    if here is not None and not killed:
        end = guard.end
    outcome = here if here and end is None else ended_here(part, end, together.failures_elsewhere(guard))
    outcome = judge(outcome)
    together.decide(link, outcome)
    return outcome


def _process(
    job: Job, workers: dict[str, str], environ: Mapping[str, str], container: Container | None
) -> tuple[Supervisor, Callable[[Path], None]]:
    """What runs the job, and how it is started, with a log for its first words."""
    if container is None:
        here = Supervisor()
        return here, partial(here.start, command(job), workers | {PARENT_VARIABLE: str(os.getpid())})
    from primus.launch.container.process import ContainerSupervisor

    inside = ContainerSupervisor(container)
    return inside, partial(inside.run, environ)


def _manifest(
    job: Job, argv: Sequence[str], variables: Mapping[str, str], started: str, container: Container | None
) -> ManifestWriter:
    from primus.launch.manifest_writer import ManifestWriter  # here, where the workers are on their way already

    more = {"container": container.facts()} if container else {}
    return ManifestWriter(job, argv=argv, variables=variables, started=started, more=more)


def _watch(supervisor: Supervisor, screen: Screen, guard: Guard) -> int:
    """Show the logs until the workers have ended; their exit status."""
    told, status = False, None
    while status is None:
        status = supervisor.wait(_INTERVAL)
        screen.update()
        guard.look()
        if supervisor.asked and not told:
            told = True
            screen.note(f"{supervisor.asked.name}: stopping after this step. Once more kills the workers at once.")
    screen.close()
    return status


def _describe(job: Job) -> str:
    resources = job.resources
    count = resources.world_size
    text = f"{job.backend}, {count} process{'es' if count > 1 else ''} on {resources.accelerator}"
    text += f", attempt {job.attempt}" if job.attempt > 1 else ""
    if resources.nnodes == 1:
        return text
    return f"{text}, {resources.nnodes} nodes, this is node {resources.node_rank}"

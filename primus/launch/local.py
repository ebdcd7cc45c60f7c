"""Runs a job on this machine, or the part of one node: starts its workers, shows and records what becomes of them.
`primus train` calls submit()."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primus.errors import MissingError
from primus.job import Job
from primus.launch.account import Account, account_of, account_without_notes
from primus.launch.attempt import set_aside
from primus.launch.care import Care
from primus.launch.devices import gpu_of
from primus.launch.failure import Ended, note_of, record_exit, tail_of
from primus.launch.guard import Guard
from primus.launch.kernel import KernelWatch
from primus.launch.record import Outcome, Record
from primus.launch.render import command, environment
from primus.launch.supervise import Supervisor
from primus.launch.terminal import Screen
from primus.lifeline import PARENT_VARIABLE
from primus.redact import redact_argv
from primus.run import RunDirectory

if TYPE_CHECKING:
    from primus.launch.container.render import Container

_INTERVAL = 0.05
"""Seconds between two looks at the logs."""

_ASKED_TO_STOP = {128 + number: number for number in (signal.SIGTERM, signal.SIGUSR1)}

_DEFAULT_CARE = Care()

_FAILURES_KEPT = 16
"""Failed workers that status.json lists."""


def submit(
    job: Job,
    *,
    argv: Sequence[str],
    environ: Mapping[str, str],
    container: Container | None = None,
    care: Care = _DEFAULT_CARE,
) -> Outcome:
    """Run the job to its end, in the container where there is one, and say how it ended. `argv` is the user's command
    line, for the manifest."""
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
    guard = Guard(job, supervisor, care, screen.note)
    with supervisor:
        start(_first_log(job))
        record.running(_manifest(job, argv, workers, record.status.started, container))
        status = _watch(supervisor, screen, guard)
    outcome = (
        _ended(job, guard)
        or _outcome(job, status, supervisor, container)
        or _failed(_account(job, status, supervisor.pid, kernel, environ, shown=screen.ranks), status)
    )
    try:
        record.end(outcome)
    except MissingError as error:  # a full disk must not hide how training ended
        print(f"Warning: {error}", file=sys.stderr)
    if outcome.exit_status:
        screen.record(outcome.text)
        print(outcome.text, file=sys.stderr)
    else:
        screen.note(outcome.text)
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
) -> dict[str, Any]:
    from primus.manifest import manifest  # here, where the workers are on their way already

    facts = manifest(job, command=argv, environment=variables, started=started)
    return facts | ({"container": container.facts()} if container else {})


def _watch(supervisor: Supervisor, screen: Screen, guard: Guard) -> int:
    """Show the logs until the workers have ended; their exit status."""
    told = False
    while (status := supervisor.wait(_INTERVAL)) is None:
        screen.update()
        guard.look()
        if supervisor.asked and not told:
            told = True
            screen.note(f"{supervisor.asked.name}: stopping after this step. Once more kills the workers at once.")
    screen.close()
    return status


def _ended(job: Job, guard: Guard) -> Outcome | None:
    """The outcome when the launcher ended the workers itself."""
    if guard.end is None:
        return None
    text = f"Training ended: {guard.end.cause}. Run directory: {job.run_dir}"
    return Outcome(state="failed", exit_status=guard.end.exit_status, cause=guard.end.cause, text=text)


def _outcome(job: Job, status: int, supervisor: Supervisor, container: Container | None) -> Outcome | None:
    """What the exit status of the workers means; None when some of them have failed."""
    run_dir, asked = RunDirectory(job.run_dir), supervisor.asked
    if status == 0:
        return Outcome(state="succeeded", exit_status=0, text=f"{job.name}: done. Run directory: {run_dir.path}")
    if asked is not None:
        cause = f"stopped by {asked.name}" + (", killed since it did not end in time" if supervisor.killed else "")
        text = f"{job.name}: {cause}. Run directory: {run_dir.path}"
        return Outcome(state="interrupted", exit_status=128 + asked, cause=cause, text=text)
    if status in _ASKED_TO_STOP:
        cause = f"the workers were asked to stop by {_ASKED_TO_STOP[status].name}"
        text = f"{job.name}: {cause}. Run directory: {run_dir.path}"
        return Outcome(state="interrupted", exit_status=status, cause=cause, text=text)
    return _not_started(job, status, container) if container else None


def _not_started(job: Job, status: int, container: Container) -> Outcome | None:
    """The outcome when the container's runtime failed, not what ran inside."""
    from primus.launch.container.explain import why_not_started

    reason = why_not_started(container, status, tail_of(_first_log(job), 10))
    if reason is None:
        return None
    text = f"Training did not begin: {reason}"
    return Outcome(state="failed", exit_status=status, cause=reason.partition("\n")[0], text=text)


def _account(
    job: Job, status: int, pid: int, kernel: KernelWatch, environ: Mapping[str, str], *, shown: tuple[int, ...]
) -> Account:
    """What is known of the workers that failed; `pid` is the process that was started."""
    run_dir = RunDirectory(job.run_dir)
    alone = [] if job.resources.world_size > 1 else [_note(job, status, pid)]
    for note in alone:
        record_exit(run_dir, note)
    found = run_dir.read_failures() or alone  # a full disk takes no note
    if not found:
        return account_without_notes(job, status)
    return account_of(
        job, found, shown=shown, kernel=kernel.evidence, gpu=lambda local_rank: gpu_of(local_rank, environ)
    )


def _note(job: Job, status: int, pid: int) -> dict[str, Any]:
    """The end of a worker that has no agent."""
    return note_of(Ended(rank=0, local_rank=0, pid=pid, status=status), node=0, attempt=job.attempt)


def _failed(account: Account, status: int) -> Outcome:
    return Outcome(
        state="failed",
        exit_status=status,
        cause=account.cause,
        diagnosis=account.diagnosis,
        text=account.text,
        failures=account.failures[:_FAILURES_KEPT],
    )


def _first_log(job: Job) -> Path:
    run_dir, node = RunDirectory(job.run_dir), job.resources.node_rank
    return run_dir.log_path(node, 0) if job.resources.world_size == 1 else run_dir.agent_log(node)


def _describe(job: Job) -> str:
    resources = job.resources
    count = resources.world_size
    text = f"{job.backend}, {count} process{'es' if count > 1 else ''} on {resources.accelerator}"
    text += f", attempt {job.attempt}" if job.attempt > 1 else ""
    if resources.nnodes == 1:
        return text
    return f"{text}, {resources.nnodes} nodes, this is node {resources.node_rank}"

"""Runs a job on this machine, or the part of one node: starts its workers, shows and records what becomes of them.
`primus train` calls submit()."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from primus.errors import MissingError
from primus.job import Job
from primus.launch import failure as failures
from primus.launch.attempt import earlier_attempts, set_aside
from primus.launch.render import command, environment
from primus.launch.supervise import Supervisor
from primus.launch.terminal import Screen
from primus.lifeline import PARENT_VARIABLE
from primus.redact import redact_argv, redact_text
from primus.run import RunDirectory, State, Status, utc_now

_INTERVAL = 0.05
"""Seconds between two looks at the logs."""

_ASKED_TO_STOP = {128 + number: number for number in (signal.SIGTERM, signal.SIGUSR1)}

_FAILURES_KEPT = 16
"""Failed workers that status.json lists."""


def submit(job: Job, *, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the job to its end and return its exit status. `argv` is the user's command line, for the manifest."""
    run_dir, node = RunDirectory(job.run_dir), job.resources.node_rank
    set_aside(run_dir, job.attempt)
    run_dir.create(job.files, node=node)
    record = _Record(run_dir, job.attempt, keep=node == 0)
    workers = environment(job, environ)
    screen = Screen(job, node, environ=environ)
    screen.record(f"process {os.getpid()} on {socket.gethostname()} runs {shlex.join(redact_argv(argv))}")
    screen.note(f"{job.name}: {_describe(job)}\nRun directory: {run_dir.path}")
    with Supervisor() as supervisor:
        supervisor.start(command(job), workers | {PARENT_VARIABLE: str(os.getpid())}, _first_log(job))
        record.running(_manifest(job, argv, workers, record.status.started))
        status = _watch(supervisor, screen)
    outcome = _outcome(job, status, supervisor, shown=screen.ranks)
    try:
        record.end(outcome)
    except MissingError as error:  # a full disk must not hide how training ended
        print(f"Warning: {error}", file=sys.stderr)
    if outcome.exit_status:
        screen.record(outcome.text)
        print(outcome.text, file=sys.stderr)
    else:
        screen.note(outcome.text)
    return outcome.exit_status


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """How a run ended."""

    state: State
    exit_status: int
    cause: str | None = None
    text: str
    """For the terminal."""

    failures: tuple[dict[str, Any], ...] = ()


class _Record:
    """Keeps status.json and the manifest, on one node of the job."""

    def __init__(self, run_dir: RunDirectory, attempt: int, *, keep: bool) -> None:
        self._run_dir, self._keep = run_dir, keep
        now = utc_now()
        self.status = Status(
            state="starting",
            attempt=attempt,
            attempts=earlier_attempts(run_dir) if keep else (),
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
            updated=now,
        )
        self._write()

    def running(self, facts: dict[str, Any]) -> None:
        if self._keep:
            self._run_dir.write_json(self._run_dir.manifest, facts)
        self._change(state="running")

    def end(self, outcome: _Outcome) -> None:
        self._change(
            state=outcome.state,
            exit_status=outcome.exit_status,
            cause=outcome.cause,
            failures=tuple({k: v for k, v in failure.items() if k != "traceback"} for failure in outcome.failures),
            ended=utc_now(),
        )

    def _change(self, **fields: Any) -> None:
        self.status = replace(self.status, updated=utc_now(), **fields)
        self._write()

    def _write(self) -> None:
        if self._keep:
            self._run_dir.write_status(self.status)


def _manifest(job: Job, argv: Sequence[str], variables: Mapping[str, str], started: str) -> dict[str, Any]:
    from primus.manifest import manifest  # here, where the workers are on their way already

    return manifest(job, command=argv, environment=variables, started=started)


def _watch(supervisor: Supervisor, screen: Screen) -> int:
    """Show the logs until the workers have ended; their exit status."""
    told = False
    while (status := supervisor.wait(_INTERVAL)) is None:
        screen.update()
        if supervisor.asked and not told:
            told = True
            screen.note(f"{supervisor.asked.name}: stopping after this step. Once more kills the workers at once.")
    screen.close()
    return status


def _outcome(job: Job, status: int, supervisor: Supervisor, *, shown: tuple[int, ...]) -> _Outcome:
    """What the exit status of the workers means, together with what they left behind."""
    run_dir, asked = RunDirectory(job.run_dir), supervisor.asked
    if status == 0:
        return _Outcome(state="succeeded", exit_status=0, text=f"{job.name}: done. Run directory: {run_dir.path}")
    if asked is not None:
        cause = f"stopped by {asked.name}" + (", killed since it did not end in time" if supervisor.killed else "")
        text = f"{job.name}: {cause}. Run directory: {run_dir.path}"
        return _Outcome(state="interrupted", exit_status=128 + asked, cause=cause, text=text)
    if status in _ASKED_TO_STOP:
        cause = f"the workers were asked to stop by {_ASKED_TO_STOP[status].name}"
        text = f"{job.name}: {cause}. Run directory: {run_dir.path}"
        return _Outcome(state="interrupted", exit_status=status, cause=cause, text=text)
    return _failed(job, status, shown=shown)


def _failed(job: Job, status: int, *, shown: tuple[int, ...]) -> _Outcome:
    run_dir, node = RunDirectory(job.run_dir), job.resources.node_rank
    if job.resources.world_size == 1:
        failures.record_exit(run_dir, node=0, ended=failures.Ended(rank=0, local_rank=0, pid=0, status=status))
    found = run_dir.read_failures()
    first = failures.first_failure(found)
    if first is None:
        log = run_dir.agent_log(node)
        cause = f"torchrun {failures.describe_status(status)}"
        text = "\n".join([f"Training failed: {cause}", f"Last lines of {log}:", *failures.tail_of(log)])
        return _Outcome(state="failed", exit_status=status, cause=cause, text=text)
    text = failures.report(run_dir, found, shown=shown)
    cause = f"rank {first['rank']} on node {first['node']}: {redact_text(first['message'])}"
    return _Outcome(state="failed", exit_status=status, cause=cause, text=text, failures=tuple(found[:_FAILURES_KEPT]))


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

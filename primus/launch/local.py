"""Runs a job on this machine, or the part of one node: starts its workers, has them attended, records what becomes of
them. `primus train` calls submit()."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from primus.errors import MissingError
from primus.job import Job
from primus.launch.attempt import set_aside
from primus.launch.care import Care
from primus.launch.kernel import KernelWatch
from primus.launch.record import Outcome, Record
from primus.launch.render import command, environment, first_log
from primus.launch.supervise import Interrupted, Supervisor
from primus.lifeline import PARENT_VARIABLE
from primus.run import RunDirectory

if TYPE_CHECKING:
    from primus.launch.attend import Judge
    from primus.launch.container.render import Container
    from primus.launch.link import Link
    from primus.launch.manifest_writer import ManifestWriter
    from primus.launch.terminal import Screen

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
    line, for the manifest; `link` leads to the launchers of the other nodes, when there are any. Interrupted when the
    user asked to stop after it was decided to start again."""
    run_dir, node = RunDirectory(job.run_dir), job.resources.node_rank
    set_aside(run_dir, job.attempt)
    run_dir.create(job.files, node=node)
    record = Record(run_dir, job.attempt, keep=node == 0)
    workers = environment(job, environ) if container is None else dict(container.variables)
    kernel = KernelWatch()
    supervisor, start = _process(job, workers, environ, container)
    supervisor.grace = care.grace
    with supervisor.listening():
        with supervisor:
            start(first_log(job))
            record.running()
            from primus.launch.attend import Attendant  # here, where the workers are on their way already

            attendant = Attendant(job, supervisor, care=care, link=link, environ=environ)
            attendant.introduce(argv)
            manifest = _manifest(job, argv, workers, record.status.started, container)
            status = attendant.watch()
            manifest.finish()
        outcome = attendant.outcome(status, container, kernel, judge)
        _tell(outcome, record, attendant.screen)
    if outcome.again is not None and supervisor.asked is not None:
        raise Interrupted(supervisor.asked)
    return outcome


def _tell(outcome: Outcome, record: Record, screen: Screen) -> None:
    """Write down how the job ended, and say it."""
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
    from primus.launch.manifest_writer import ManifestWriter

    begin = partial(ManifestWriter, job, argv=argv, variables=variables, started=started)
    if container is None:
        return begin(more={})
    # The runtime needs the cores itself until the container has begun.
    return begin(more={"container": container.facts()}, may_begin=container.notes.exists)

"""Everything that is looked at before a submission: the experiment, the options, the cluster, the files that are named.
All problems are told at once, and nothing is made. `primus slurm submit` calls prepare_submission()."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primus.backends.prepare import Prepared, prepare
from primus.errors import ExitStatus, ExperimentError, MissingError, PrimusError, ServiceError, UsageError
from primus.experiment import Experiment
from primus.experiment.inherit import Cache
from primus.experiment.withhold import withhold
from primus.job import Resources
from primus.launch.attempt import choose_run_id
from primus.launch.dry_run import RUN_ID
from primus.launch.slurm import options as rules
from primus.launch.slurm.dependency import unknown_jobs
from primus.launch.slurm.options import Options
from primus.launch.slurm.partitions import read_partitions
from primus.launch.slurm.plan import Submission, plan
from primus.launch.slurm.preflight import check
from primus.launch.slurm.site import settle
from primus.launch.slurm.snapshot import find_tree
from primus.launch.slurm.sweep import Task, expand


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What the user asks for, besides the options that Options holds."""

    exp: str
    backend: str | None = None
    sets: Sequence[str] = ()
    arrays: Sequence[str] = ()
    train_options: Sequence[str] = ()
    """Passed on to `primus train`."""

    tunes: bool = False
    """Stage 2 of the tuning: it trains nothing, so that the layout need not fit."""

    resume: bool | None = None
    snapshot: bool = False
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A submission that nothing is known to be wrong with."""

    submission: Submission
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Problems:
    """What has been found, by the exit status that it leads to."""

    usage: list[str] = field(default_factory=list)
    experiment: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def raise_all(self) -> None:
        """One error with all of them; the first kind that there is gives the status."""
        kinds: tuple[tuple[list[str], type[PrimusError]], ...] = (
            (self.usage, UsageError),
            (self.experiment, _WrongExperiment),
            (self.missing, MissingError),
        )
        text = "\n".join(line for lines, _ in kinds for line in lines)
        for lines, kind in kinds:
            if lines:
                raise kind(text)


class _WrongExperiment(PrimusError):
    status = ExitStatus.EXPERIMENT


def prepare_submission(
    wish: Wish, *, given: Mapping[str, Any], origins: Mapping[str, str], environ: Mapping[str, str]
) -> Ready:
    """The submission, or an error with everything that speaks against it."""
    options, places = settle(given, origins, environ)
    problems = Problems(usage=rules.problems(options, places))
    directory = Path.cwd()
    resources = None if problems.usage or wish.tunes else _resources(options)
    checked = _experiments(wish, resources, environ, problems)
    if not problems.usage:
        check_cluster(options, places, environ, problems, dry_run=wish.dry_run)
        check_files(options, problems)
    problems.raise_all()
    secrets = {name: value for _, experiment in checked for name, value in experiment.secrets.items()}
    submission = plan(
        options=options,
        tasks=checked,
        run_id=RUN_ID if wish.dry_run else choose_run_id(environ),
        directory=directory,
        tree=find_tree(directory) if wish.snapshot else None,
        environ={**environ, **secrets},
        train_options=(*_image(options), *wish.train_options, *_RESUME[wish.resume]),
        python=options.python or sys.executable,
    )
    return Ready(submission=submission, origins=places, warnings=tuple(dict.fromkeys(problems.warnings)))


_RESUME: Mapping[bool | None, tuple[str, ...]] = {None: (), True: ("--resume",), False: ("--no-resume",)}


def _image(options: Options) -> tuple[str, ...]:
    return () if options.image is None else ("--image", options.image)


def _experiments(
    wish: Wish, resources: Resources | None, environ: Mapping[str, str], problems: Problems
) -> list[tuple[Task, Experiment]]:
    """The checked experiment of each task."""
    tasks, cache = expand(wish.arrays), Cache()
    found = []
    for task in tasks:
        try:
            prepared = _prepared(wish, task, resources, environ, cache)
        except ExperimentError as error:
            problems.experiment += [str(problem) for problem in error.problems]
            continue
        problems.experiment += [str(problem) for problem in prepared.errors]
        kept = problems.warnings if wish.dry_run else problems.missing
        kept += [str(problem) for problem in prepared.missing]
        problems.warnings += [str(problem) for problem in prepared.warnings]
        if wish.resume and not prepared.errors and prepared.backend.newest_checkpoint(prepared.experiment) is None:
            problems.missing.append(f"--resume: {prepared.experiment.folder} has no checkpoint to resume from")
        found.append((task, withhold(prepared.experiment, environ)))
    for lines in (problems.experiment, problems.missing):
        lines[:] = dict.fromkeys(lines)  # the tasks of an array share most of their problems
    return found


def _prepared(
    wish: Wish, task: Task, resources: Resources | None, environ: Mapping[str, str], cache: Cache
) -> Prepared:
    sets = [*wish.sets, *task.sets]
    first = prepare(wish.exp, sets=sets, framework=wish.backend, resources=resources, environ=environ, cache=cache)
    if not task.values:
        return first
    name = f"exp_name={first.experiment.exp_name}-{task.suffix}"
    return prepare(
        wish.exp, sets=[*sets, name], framework=wish.backend, resources=resources, environ=environ, cache=cache
    )


def _resources(options: Options) -> Resources | None:
    """What the job will have; None where the number of processes is left to the nodes."""
    processes = options.nproc_per_node or options.gpus
    if not processes:
        return None
    return Resources(nnodes=options.nnodes, nproc_per_node=processes, accelerator="amd" if options.gpus else "cpu")


def check_cluster(
    options: Options, origins: Mapping[str, str], environ: Mapping[str, str], problems: Problems, *, dry_run: bool
) -> None:
    """The options against the partitions and nodes that there are."""
    try:
        partitions = read_partitions(environ)
    except (MissingError, ServiceError) as error:
        if not dry_run:
            raise
        problems.warnings.append(f"not checked against the cluster: {error}")
        return
    for job in unknown_jobs(options.dependency or "", environ):
        problems.warnings.append(
            f"--dependency: SLURM does not know job {job}, or not any more; it takes it as ended and does not wait"
        )
    findings = check(options, origins, partitions)
    problems.missing += findings.problems
    problems.warnings += findings.warnings


def check_files(options: Options, problems: Problems) -> None:
    """Files that the job will need, as far as this machine can tell."""
    named = {"--setup": options.setup, "python": options.python}
    if options.image is not None and options.image.startswith((".", "/", "~")):
        named["--image"] = options.image
    for option, name in named.items():
        if name is not None and not os.path.isfile(os.path.expanduser(name)):
            problems.missing.append(f"{option} {name}: there is no such file here")

"""From options and checked experiments to a submission: every file with its text, and the command line of sbatch. Pure;
`primus slurm submit --dry-run` prints what this returns, submit.py does it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from primus.experiment import Experiment, dump
from primus.launch.slurm.options import Options, batch_arguments, sbatch_arguments
from primus.launch.slurm.record import JobFiles
from primus.launch.slurm.script import Script, environment_file, render
from primus.launch.slurm.sweep import Task
from primus.run import RunDirectory

NAME = "doctor"
"""Of an examination: of its job and of the folder of its runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of a submission; an array has several."""

    experiment: Experiment | None
    """With an absolute workspace; None where the nodes are examined instead."""

    task: Task
    path: Path
    """Its run directory."""

    @property
    def name(self) -> str:
        return NAME if self.experiment is None else self.experiment.exp_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """Everything that a submission is."""

    options: Options
    runs: tuple[Run, ...]
    is_array: bool
    directory: Path
    """Where it is submitted."""

    tree: Path | None
    """Working tree to copy into the run directory."""

    environ: Mapping[str, str]
    train_options: tuple[str, ...]
    """Further options of `primus train`, or of `primus doctor`."""

    python: str

    @property
    def examines(self) -> bool:
        """Whether the nodes are examined instead of trained on."""
        return self.runs[0].experiment is None

    @property
    def first(self) -> JobFiles:
        """Files of the first run: SLURM takes its script."""
        return JobFiles(self.runs[0].path)

    @property
    def name(self) -> str:
        """Of the job; that of an array is what its experiments have in common."""
        first = self.runs[0]
        return self.options.job_name or first.name.removesuffix(f"-{first.task.suffix}")

    @property
    def script(self) -> str:
        """The job script, the same for every task of an array."""
        code = self.first.code if self.tree else None
        return render(
            Script(
                run=self.runs[0].path,
                array=self.is_array,
                directory=self.directory
                if self.tree is None
                else self.first.code / self.directory.relative_to(self.tree),
                code=code,
                train=(self.python, "-m", "primus", NAME if self.examines else "train", *self.train_options),
                examines=self.examines,
                nproc_per_node=self.options.nproc_per_node,
                master_port=self.options.master_port,
                max_requeues=self.options.max_requeues,
                exclude_failed_nodes=self.options.exclude_failed_nodes,
                chain=self.options.chain,
                lost_timeout=self.options.lost_timeout,
            )
        )

    @property
    def environment(self) -> str:
        return environment_file(self.environ)

    @property
    def arguments(self) -> list[str]:
        """Of sbatch and salloc, without those that only a batch job has."""
        return sbatch_arguments(self.options, name=self.name)

    @property
    def command(self) -> list[str]:
        """The command line that submits it."""
        array = [f"--array=0-{len(self.runs) - 1}"] if self.is_array else []
        own = ["--parsable", *array, f"--output={self._output()}", "--open-mode=append", *batch_arguments(self.options)]
        return ["sbatch", *own, *self.arguments, str(self.first.script)]

    def _output(self) -> str:
        """The log of the job script, in which SLURM replaces %a by the task's index."""
        if not self.is_array:
            return _literal(self.first.log)
        run = self.first.runs / "INDEX"
        return f"{_literal(self.first.runs)}/%a/{JobFiles(run).log.relative_to(run)}"


def plan(
    *,
    options: Options,
    tasks: Sequence[tuple[Task, Experiment]],
    run_id: str,
    directory: Path,
    tree: Path | None,
    environ: Mapping[str, str],
    train_options: Sequence[str],
    python: str,
) -> Submission:
    """The submission of checked experiments, one for each task."""
    runs = []
    for task, experiment in tasks:
        here = replace(experiment, workspace=str(directory / experiment.workspace))
        runs.append(Run(experiment=here, task=task, path=RunDirectory.named(here.folder, run_id).path))
    return Submission(
        options=options,
        runs=tuple(runs),
        is_array=any(task.values for task, _ in tasks),
        directory=directory,
        tree=tree,
        environ=environ,
        train_options=tuple(train_options),
        python=python,
    )


def plan_examination(
    *,
    options: Options,
    workspace: Path,
    run_id: str,
    directory: Path,
    environ: Mapping[str, str],
    doctor_options: Sequence[str],
    python: str,
) -> Submission:
    """The submission of `primus doctor`."""
    there = directory / workspace
    run = Run(experiment=None, task=Task(values={}), path=RunDirectory.named(there / NAME, run_id).path)
    return Submission(
        options=options,
        runs=(run,),
        is_array=False,
        directory=directory,
        tree=None,
        environ=environ,
        train_options=("--workspace", str(there), *doctor_options),
        python=python,
    )


def _literal(path: Path) -> str:
    """A path in which SLURM replaces nothing."""
    return str(path).replace("%", "%%")


def describe_command(submission: Submission) -> str:
    """The command line of sbatch for people, over several lines."""
    return " \\\n    ".join(shlex.quote(word) for word in submission.command)


def experiment_text(experiment: Experiment) -> str:
    """The effective experiment of one run."""
    return dump(experiment)

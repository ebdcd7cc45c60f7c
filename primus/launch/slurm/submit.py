"""Does what plan.py has planned: makes the run directories and hands the job to SLURM. `primus slurm submit` calls
submit()."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from primus.errors import PrimusError, ServiceError
from primus.launch.slurm.attach import run_attached
from primus.launch.slurm.plan import Run, Submission, experiment_text
from primus.launch.slurm.record import JobFiles, Record, write_record
from primus.launch.slurm.script import client_environment
from primus.launch.slurm.snapshot import copy_tree
from primus.launch.slurm.tools import NoAnswer, call, find
from primus.redact import redact_argv
from primus.revision import Revision, revision_of
from primus.run import explained, utc_now, write_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted:
    """What SLURM has taken."""

    job: str
    cluster: str | None

    def of_task(self, submission: Submission, index: int) -> str:
        """The id of one run's job."""
        return f"{self.job}_{index}" if submission.is_array else self.job


def submit(submission: Submission, *, argv: Sequence[str]) -> Submitted:
    """Make the files and submit. When SLURM refuses, nothing stays behind. `argv` is the user's command line."""
    with ThreadPoolExecutor(1) as beside:
        code = beside.submit(revision_of, submission.directory)
        made = _missing_folders(submission)
        write_files(submission)
        try:
            answer = call(submission.command[0], submission.command[1:], client_environment(submission.environ))
        except NoAnswer:
            raise
        except PrimusError:
            remove_files(submission, made)
            raise
        submitted = _parse(answer)
        write_records(submission, submitted, argv=argv, code=code.result())
    return submitted


def run_interactively(submission: Submission, *, argv: Sequence[str]) -> int:
    """Wait for nodes here, run the job script in the foreground, and return its status."""
    salloc = ["salloc", *submission.arguments, "bash", str(submission.first.script)]
    environ = client_environment(submission.environ)
    find(salloc[0], environ)
    write_files(submission)
    with ThreadPoolExecutor(1) as beside:
        code = beside.submit(revision_of, submission.directory)

        def granted(job: str) -> None:
            write_records(submission, Submitted(job=job, cluster=None), argv=argv, code=code.result())

        return run_attached(salloc, submission.first, environ, granted=granted)


def write_files(submission: Submission) -> None:
    """Everything that the job reads."""
    if submission.tree is not None:
        copy_tree(submission.tree, submission.first.code)
    for run in submission.runs:
        files = JobFiles(run.path)
        with explained(f"can't make the run directory {run.path}"):
            files.folder.mkdir(parents=True, exist_ok=True)
            _make_logs(submission, run, files)
            if run.experiment is not None:
                write_text(files.experiment, experiment_text(run.experiment))
            _write(files.environment, submission.environment, 0o600)
            _write(files.script, submission.script, 0o755)
            if submission.options.setup is not None:
                shutil.copyfile(Path(submission.options.setup).expanduser(), files.setup)
    if submission.is_array:
        submission.first.runs.mkdir()
        for index, run in enumerate(submission.runs):
            (submission.first.runs / str(index)).symlink_to(run.path)


def write_records(submission: Submission, submitted: Submitted, *, argv: Sequence[str], code: Revision | None) -> None:
    """slurm.json of every run."""
    now = utc_now()
    for index, run in enumerate(submission.runs):
        record = Record(
            job=submitted.of_task(submission, index),
            cluster=submitted.cluster,
            name=submission.name,
            nnodes=submission.options.nnodes,
            experiment="" if run.experiment is None else str(run.experiment.path.absolute()),
            submitted=now,
            directory=str(submission.directory),
            command=redact_argv(argv),
            sbatch=submission.command,
            options={name: value for name, value in asdict(submission.options).items() if value not in (None, ())},
            values=run.task.values,
            git=None if code is None else code.facts(),
        )
        write_record(run.path, record)


def remove_files(submission: Submission, made: Sequence[Path]) -> None:
    """Take away what write_files() has made, and those of the folders `made` that nobody else has used since."""
    for run in submission.runs:
        files = JobFiles(run.path)
        if files.logs.is_symlink():
            shutil.rmtree(files.logs.resolve())
        shutil.rmtree(files.folder, ignore_errors=True)
    for folder in made:
        with suppress(OSError):
            folder.rmdir()


def _missing_folders(submission: Submission) -> list[Path]:
    """The folders that write_files() is going to make around the files, the innermost first."""
    inner = [run.path for run in submission.runs]
    if submission.options.log_dir is not None:
        inner.append(submission.directory / submission.options.log_dir)
    missing = {folder for path in inner for folder in (path, *path.parents) if not folder.exists()}
    return sorted(missing, key=lambda folder: len(folder.parts), reverse=True)


def _make_logs(submission: Submission, run: Run, files: JobFiles) -> None:
    """The folder of the job's logs, which SLURM does not make: without it the job fails and says nothing."""
    if submission.options.log_dir is None:
        files.logs.mkdir(exist_ok=True)
        return
    folder = submission.directory / submission.options.log_dir / f"{run.name}-{run.path.name}"
    folder.mkdir(parents=True, exist_ok=True)
    files.logs.symlink_to(folder)


def _write(path: Path, text: str, mode: int) -> None:
    """A new file, which nobody could read in between with more rights than it is to have."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.fsencode(text))


def _parse(answer: str) -> Submitted:
    """sbatch --parsable: `ID`, or `ID;CLUSTER`; a line before it is a message of the cluster's."""
    job, _, cluster = (answer.strip().splitlines() or [""])[-1].partition(";")
    if not job.isdigit():
        raise ServiceError(f"sbatch has taken the job, but its answer is not understood: {answer.strip() or 'nothing'}")
    return Submitted(job=job, cluster=cluster or None)

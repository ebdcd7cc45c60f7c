"""Where the files of a job lie in its run directory, and slurm.json: what was submitted, by which the commands find a
job and its run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from primus.errors import MissingError
from primus.run import RunDirectory, utc_now


class JobFiles:
    """The files of one run's job. Making the object touches nothing."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.record = run / "slurm.json"
        self.folder = run / "slurm"
        self.script = self.folder / "job.sh"
        self.environment = self.folder / "environment.sh"
        """May hold secrets: only its owner can read it."""

        self.setup = self.folder / "setup.sh"
        self.experiment = self.folder / "experiment.yaml"
        """As submitted; that of the run directory is each attempt's own."""

        self.attempts = self.folder / "attempts.jsonl"
        self.code = self.folder / "code"
        """The working tree, when it was copied."""

        self.runs = self.folder / "runs"
        """Of an array's first run: a link to the run directory of each task, by its index."""

        self.logs = self.folder / "logs"
        """A folder, or a link to one in LOG_DIR."""

        self.log = self.logs / "job.log"
        """Output of the job script."""

    def node_log(self, node: int) -> Path:
        """Output of `primus train` on one node."""
        return self.logs / f"node{node}.log"

    def read_attempts(self) -> list[dict[str, Any]]:
        """What the job script wrote down at each beginning and end, the oldest first."""
        try:
            lines = self.attempts.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:  # half a line, of a node that died
                continue
        return found

    def note(self, **facts: Any) -> None:
        """Add a line there, in a single write."""
        line = json.dumps({"time": utc_now(), **facts}) + "\n"
        with self.attempts.open("ab", buffering=0) as file:
            file.write(line.encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What slurm.json holds."""

    job: str
    """SLURM's id, for a task of an array as `123_4`."""

    cluster: str | None = None
    """Of a federation; None for the cluster that the configuration names."""

    name: str
    nnodes: int
    experiment: str
    """The file that was submitted."""

    submitted: str
    """UTC."""

    directory: str
    """Where the job works."""

    command: list[str]
    """The user's, without secrets."""

    sbatch: list[str]
    """The command line that submits the job; once more it submits it again."""

    options: Mapping[str, Any]
    values: Mapping[str, str] = field(default_factory=dict)
    """What this task of an array sets, by key."""

    git: Mapping[str, Any] | None = None
    """State of the code in the working directory."""

    chain: list[str] = field(default_factory=list)
    """Jobs that went on with this run one after the other, after the first one's time was up."""

    next: str | None = None
    """The job that waits to go on with this run when the current one has ended, whose time is nearly up."""

    @property
    def current(self) -> str:
        """The job that has the run now."""
        return self.chain[-1] if self.chain else self.job

    @property
    def jobs(self) -> tuple[str, ...]:
        """All of them, one after the other."""
        return (self.job, *self.chain, *([] if self.next is None else [self.next]))


def write_record(run: Path, record: Record) -> None:
    RunDirectory(run).write_json(JobFiles(run).record, asdict(record))


def read_record(run: Path) -> Record | None:
    """The record of a run's job; None for a run that no job belongs to."""
    path = JobFiles(run).record
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise MissingError(f"{path} can't be read: {error}") from error

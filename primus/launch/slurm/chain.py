"""The jobs of a chain: the next one is lined up in the queue while the training of this one still saves, for the end of
the time may come first. survive.py calls it, in the job; SLURM starts the next job when this one has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from primus.errors import PrimusError
from primus.launch.slurm.record import JobFiles, Record, read_record, write_record
from primus.launch.slurm.script import client_environment
from primus.launch.slurm.tools import call

_NO_PROGRESS = (
    "no next job: the time of two jobs in a row was up before training began; give them more of it (--time), or do "
    "beforehand what takes so long (--setup)"
)

_OVER = "TimeLimit"
"""What SLURM says of a job that it ends since its time is up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """What one job of a chain has to do with the others."""

    files: JobFiles
    job: str
    """This job's id; of a task of an array as `123_4`."""

    most: int
    """Jobs that may follow the first one."""

    bad: Sequence[str]
    """Nodes that the next job is to leave out."""

    environ: Mapping[str, str]
    say: Callable[[str], None]

    def line_up(self, *, trained: bool = True) -> None:
        """Submit the next job, once: it waits for the end of this one, then goes on in the same run directory. Where
        this one has not come to the training, and neither had the one before, more of the same would not either."""
        record = read_record(self.files.run)
        if record is None:  # the one who submits writes it some milliseconds after SLURM has taken the job
            self.say("no next job: the record of the submission is not there")
            return
        if record.next is not None:
            return
        if len(record.chain) >= self.most:
            self.say(f"no next job: --chain {self.most} is used up")
            return
        if not trained and self._is_second_without_training(record):
            self._refuse(_NO_PROGRESS)
            return
        task = self.job.partition("_")[2]
        command = next_command(record.sbatch, self.job, self.bad)
        try:
            answer = call(command[0], command[1:], client_environment(self.environ))
        except PrimusError as error:
            self._refuse(f"the next job was not taken: {error}")
            return
        job = answer.strip().partition(";")[0] + (f"_{task}" if task else "")
        write_record(self.files.run, replace(record, next=job))
        self.say(f"job {job} goes on when this one has ended, number {len(record.chain) + 1} of {self.most}")

    def asked_to_end(self, *, trained: bool = True) -> None:
        """SLURM ends the job. Only when its time is up, another one is to follow: not when a user ends it."""
        if self._is_over():
            self.line_up(trained=trained)
        else:
            self.withdraw()

    def withdraw(self) -> None:
        """Take the next job back from the queue."""
        record = read_record(self.files.run)
        if record is None or record.next in (None, self.job):
            return
        write_record(self.files.run, replace(record, next=None))
        self.say(f"job {record.next} is taken back: nothing is left for it")
        try:
            call("scancel", ["--quiet", str(record.next)], self.environ)
        except PrimusError as error:
            self.say(f"job {record.next} can't be taken back: {error}")

    def hand_over(self) -> None:
        """This job is done with the run, and leaves it to the next one, if there is one."""
        record = read_record(self.files.run)
        if record is not None and record.next is not None:
            self._pass_on(record.next)

    def take_over(self) -> None:
        """This job begins: it takes over where the one before was ended while it saved, and could not hand over."""
        record = read_record(self.files.run)
        if record is not None and record.next == self.job:
            self._pass_on(self.job)

    def _pass_on(self, job: str) -> None:
        record = read_record(self.files.run)
        assert record is not None
        write_record(self.files.run, replace(record, chain=[*record.chain, job], next=None))
        self.files.note(state="chained", job=record.current, next=job)

    def _is_second_without_training(self, record: Record) -> bool:
        """Note that this job had no time for the training; whether the job before this one noted it too."""
        noted = {line["job"] for line in self.files.read_attempts() if line["state"] == "untrained"}
        if self.job not in noted:
            self.files.note(state="untrained", job=self.job)
        return not noted.isdisjoint(record.jobs[-2:-1])

    def _refuse(self, why: str) -> None:
        fact = {"state": "unchained", "job": self.job, "why": why}
        if not any(fact.items() <= line.items() for line in self.files.read_attempts()):
            self.say(why)
            self.files.note(**fact)

    def _is_over(self) -> bool:
        """Whether the time of the job is up, as far as SLURM says so."""
        try:
            return call("squeue", ["--noheader", f"--jobs={self.job}", "--format=%r"], self.environ).strip() == _OVER
        except PrimusError as error:
            self.say(f"can't ask why the job ends: {error}")
            return True  # one job too many can be cancelled; a night without training can't be made up for


def next_command(sbatch: Sequence[str], job: str, bad: Sequence[str]) -> list[str]:
    """The command line that submits the run of `job` once more, to start when that one has ended, without the nodes
    `bad`; of an array, this task only. Pure."""
    task = job.partition("_")[2]
    kept = [word for word in sbatch if not word.startswith(("--array=", "--exclude=", "--dependency="))]
    excluded = [word.partition("=")[2] for word in sbatch if word.startswith("--exclude=")]
    extra = [f"--dependency=afterany:{job}"]
    extra += [f"--exclude={','.join([*excluded, *bad])}"] if excluded or bad else []
    extra += [f"--array={task}"] if task else []
    return [kept[0], *extra, *kept[1:]]

"""Stays with a job until its end, through its requeues and the jobs that go on with it: --wait, --follow and
--interactive. Asks SLURM seldom and reads what the job writes often."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.errors import ExitStatus, ServiceError, as_in_shell
from primus.launch.follow import Follower
from primus.launch.slurm.queue import Row, queued
from primus.launch.slurm.reasons import read_reason
from primus.launch.slurm.record import JobFiles, read_record
from primus.launch.slurm.states import STOPPED, JobState, read_state
from primus.launch.slurm.tools import call, find
from primus.launch.slurm.verdict import verdict
from primus.run import RunDirectory

_INTERVAL = 0.2
"""Seconds between two looks at what the job has written."""

_SHORTEST, _LONGEST = 0.5, 15.0
"""Seconds between two questions to SLURM, at first and in the long run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How a job ended."""

    exit_status: int
    words: str


class Watch:
    """One job, looked at until it has ended."""

    def __init__(self, files: JobFiles, job: str, environ: Mapping[str, str]) -> None:
        self.job = job
        self._files = files
        self._environ = environ
        self._pause = _SHORTEST
        self._next = 0.0
        self._told = ""
        self._lost = 0
        self._hurried: Mapping[str, Any] | None = None

    def look(self) -> End | None:
        """Its end, or None while it has not ended. A change of its state is told on stderr."""
        noted = self._noted()
        if noted is not None and noted.exit_status == 0:
            return noted
        if noted is not None and self._hurried != self._files.read_attempts()[-1]:
            self._hurried = self._files.read_attempts()[-1]  # its end, or a requeue: SLURM says at once which
            self._pause, self._next = _SHORTEST, 0.0
        if time.monotonic() < self._next:
            return None
        self._pause = min(self._pause * 1.3, _LONGEST)
        self._next = time.monotonic() + self._pause
        return self._ask()

    def _noted(self) -> End | None:
        """What the job script wrote at its end."""
        attempts = self._files.read_attempts()
        if not attempts or attempts[-1]["state"] != "ended":
            return None
        status = int(attempts[-1]["exit_status"])
        words = {0: "is done", **dict.fromkeys(STOPPED, "was asked to stop")}
        failed = verdict(self._files.run, status) or f"failed with exit status {status}{self._cause(status)}"
        return End(exit_status=status, words=words.get(status, failed))

    def _cause(self, status: int) -> str:
        written = RunDirectory(self._files.run).read_status()
        known = written is not None and written.exit_status == status and written.cause
        return f": {known}" if known else ""

    def _ask(self) -> End | None:
        try:
            rows = queued(["-j", self.job], self._environ)
        except ServiceError:  # a controller that restarts
            self._tell("SLURM does not answer; waiting")
            return None
        if not rows:
            return self._forgotten()
        self._lost = 0
        state = read_state(rows[0].word)
        if state.phase == "ended":
            return self._ended(state)
        reason = read_reason(rows[0].reason, rows[0].partition)
        if state.phase == "pending" and reason is not None and reason.never:
            return End(exit_status=ExitStatus.SERVICE, words=f"will never start: {reason.words}")
        self._tell(_line(rows[0], state.words, "" if reason is None else reason.words))
        return None

    def _ended(self, state: JobState) -> End | None:
        if self._goes_on():
            return None
        noted = self._noted()
        if noted is None or (noted.exit_status in STOPPED and state.name == "interrupted"):
            status = noted.exit_status if noted is not None else int(state.exit_status or 0)
            return End(exit_status=status, words=state.words)
        return noted

    def _forgotten(self) -> End | None:
        if self._goes_on():
            return None
        self._lost += 1
        if self._lost < 3:  # a file may reach this machine later than SLURM forgets the job
            return None
        words = "is unknown to SLURM, and its script has noted no end"
        return self._noted() or End(exit_status=ExitStatus.SERVICE, words=words)

    def _goes_on(self) -> bool:
        """Whether another job has taken the run over; it is looked at from now on."""
        record = read_record(self._files.run)
        if record is None or record.jobs[-1] == self.job or self.job not in record.jobs:
            return False
        self._tell(f"goes on as job {record.jobs[-1]}")
        self.job, self._pause, self._next = record.jobs[-1], _SHORTEST, 0.0
        return True

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._told = line
            print(f"Job {self.job}: {line}", file=sys.stderr, flush=True)


def wait(jobs: Sequence[tuple[str, JobFiles]], environ: Mapping[str, str], *, logs: Sequence[Path] = ()) -> int:
    """Wait for every job, and show what is written to these logs meanwhile; the status of the first job that failed,
    or 0."""
    watches = [Watch(files, job, environ) for job, files in jobs]
    followers = [Follower(path) for path in logs]
    ends: dict[Watch, End] = {}
    try:
        while len(ends) < len(watches):
            time.sleep(_INTERVAL)
            _show(followers)
            for watch in watches:
                if watch not in ends and (end := watch.look()) is not None:
                    ends[watch] = end
                    _show(followers)
                    print(f"Job {watch.job} {end.words}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        names = " ".join(watch.job for watch in watches)
        print(f"\nLeft alone; job {names} goes on. `primus slurm cancel` ends it.", file=sys.stderr)
        return 128 + signal.SIGINT
    return next((end.exit_status for end in ends.values() if end.exit_status), 0)


def run_attached(
    command: Sequence[str], files: JobFiles, environ: Mapping[str, str], *, granted: Callable[[str], None]
) -> int:
    """Run salloc with the job script in the foreground and show what node 0 prints; `granted` is told the job's id. The
    first Ctrl-C asks the training to stop after its step, the second one ends the job."""
    logs, asked, told = [Follower(files.node_log(0))], 0, False
    path = find(command[0], environ)
    with subprocess.Popen(
        [path, *command[1:]], env=environ, stdin=subprocess.DEVNULL, start_new_session=True
    ) as salloc:
        while salloc.poll() is None:
            try:
                attempts = [] if told else files.read_attempts()
                if attempts:
                    told = True
                    granted(attempts[0]["job"])
                _show(logs)
                time.sleep(_INTERVAL)
            except KeyboardInterrupt:
                asked += 1
                _stop(salloc, files, environ, gently=asked == 1)
    _show(logs)
    status = salloc.returncode
    return as_in_shell(status)


def _stop(salloc: subprocess.Popen[bytes], files: JobFiles, environ: Mapping[str, str], *, gently: bool) -> None:
    attempts = files.read_attempts()
    if not attempts or not gently:
        salloc.send_signal(signal.SIGTERM)  # it gives the nodes back
        return
    print("\nStopping after this step. Once more ends the job at once.", file=sys.stderr, flush=True)
    with suppress(ServiceError):  # it has ended already
        call("scancel", ["--signal=TERM", f"{attempts[-1]['job']}.0"], environ)


def _show(logs: Sequence[Follower]) -> None:
    """Print the new lines of logs."""
    for log in logs:
        while lines := log.read():
            sys.stdout.buffer.write(lines)
            sys.stdout.flush()


def _line(row: Row, words: str, why: str) -> str:
    if read_state(row.word).phase == "pending":
        return f"{words}: {why}" if why else words
    return f"{words} on {row.nodes}" if row.nodes else words

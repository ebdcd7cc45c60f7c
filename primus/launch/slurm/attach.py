"""Stays with a job until its end: `primus slurm submit --wait`, --follow and --interactive. Asks SLURM seldom and reads
what the job writes often."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from primus.errors import ExitStatus, ServiceError
from primus.launch.follow import Follower
from primus.launch.slurm.record import JobFiles
from primus.launch.slurm.states import NEVER, JobState, read_state
from primus.launch.slurm.tools import call, find

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

    def look(self) -> End | None:
        """Its end, or None while it has not ended. A change of its state is told on stderr."""
        noted = self._noted()
        if noted is not None:
            return noted
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
        return End(exit_status=status, words="is done" if status == 0 else f"failed with exit status {status}")

    def _ask(self) -> End | None:
        try:
            answer = call("squeue", ["-h", "-t", "all", "-j", self.job, "-o", "%T|%N|%r"], self._environ)
        except ServiceError as error:
            return self._unanswered(error)
        if not answer.strip():
            return self._unanswered(ServiceError("SLURM does not know the job any more"))
        self._lost = 0
        word, nodes, reason = answer.splitlines()[0].split("|", 2)
        state = read_state(word)
        if state.phase == "ended":
            return self._noted() or End(exit_status=int(state.exit_status or 0), words=state.words)
        if state.phase == "pending" and reason in NEVER:
            return End(exit_status=ExitStatus.SERVICE, words=f"will never start: {NEVER[reason]} ({reason})")
        self._tell(_line(state, nodes, reason))
        return None

    def _unanswered(self, error: ServiceError) -> End | None:
        """A controller that restarts is waited for; a job that it has forgotten has ended."""
        if "Invalid job id" not in str(error) and "does not know" not in str(error):
            self._tell("SLURM does not answer; waiting")
            return None
        self._lost += 1
        if self._lost < 3:  # a file may reach this machine later than SLURM forgets the job
            return None
        return End(exit_status=ExitStatus.SERVICE, words="is unknown to SLURM, and its script has noted no end")

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._told = line
            print(f"Job {self.job}: {line}", file=sys.stderr, flush=True)


def wait(jobs: Sequence[tuple[str, JobFiles]], environ: Mapping[str, str], *, follow: bool) -> int:
    """Wait for every job; the status of the first of them that failed, or 0. With `follow`, show what node 0 of the one
    job prints."""
    watches = [Watch(files, job, environ) for job, files in jobs]
    log = Follower(jobs[0][1].node_log(0)) if follow else None
    ends: dict[str, End] = {}
    try:
        while len(ends) < len(watches):
            time.sleep(_INTERVAL)
            _show(log)
            for watch in watches:
                if watch.job not in ends and (end := watch.look()) is not None:
                    ends[watch.job] = end
                    _show(log)
                    print(f"Job {watch.job} {end.words}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        names = " ".join(job for job, _ in jobs)
        print(f"\nLeft alone; job {names} goes on. `scancel {names}` ends it.", file=sys.stderr)
        return 128 + signal.SIGINT
    return next((end.exit_status for end in ends.values() if end.exit_status), 0)


def run_attached(
    command: Sequence[str], files: JobFiles, environ: Mapping[str, str], *, granted: Callable[[str], None]
) -> int:
    """Run salloc with the job script in the foreground and show what node 0 prints; `granted` is told the job's id. The
    first Ctrl-C asks the training to stop after its step, the second one ends the job."""
    log, asked, told = Follower(files.node_log(0)), 0, False
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
                _show(log)
                time.sleep(_INTERVAL)
            except KeyboardInterrupt:
                asked += 1
                _stop(salloc, files, environ, gently=asked == 1)
    _show(log)
    status = salloc.returncode
    return status if status >= 0 else 128 - status


def _stop(salloc: subprocess.Popen[bytes], files: JobFiles, environ: Mapping[str, str], *, gently: bool) -> None:
    attempts = files.read_attempts()
    if not attempts or not gently:
        salloc.send_signal(signal.SIGTERM)  # it gives the nodes back
        return
    print("\nStopping after this step. Once more ends the job at once.", file=sys.stderr, flush=True)
    with suppress(ServiceError):  # it has ended already
        call("scancel", ["--signal=TERM", f"{attempts[-1]['job']}.0"], environ)


def _show(log: Follower | None) -> None:
    """Print the new lines of a log."""
    while log is not None and (lines := log.read()):
        sys.stdout.buffer.write(lines)
        sys.stdout.flush()


def _line(state: JobState, nodes: str, reason: str) -> str:
    if state.phase == "pending":
        return f"{state.words} ({reason})" if reason not in ("None", "") else state.words
    return f"{state.words} on {nodes}" if nodes else state.words

"""What comes after an attempt that did not finish: the job script runs this module with begin, asked, untrained or end.
Asks SLURM to start the job again, without the nodes that failed, or lets the next job follow."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import environ
from pathlib import Path
from typing import Any

from primus.errors import ExitStatus, PrimusError, ServiceError
from primus.launch.slurm.chain import Chain
from primus.launch.slurm.nodes import expand, failed_since
from primus.launch.slurm.outcome import correct, true_status
from primus.launch.slurm.record import JobFiles
from primus.launch.slurm.states import STOPPED
from primus.launch.slurm.tools import call
from primus.run import FINAL_STATES, RunDirectory, utc_now

AGAIN = 75
"""Exit status of `begin` when the job does not begin here but is started again elsewhere; BSD calls it a temporary
failure."""

_NODE_AT_FAULT = frozenset({"gpu-lost", "gpu-memory-error", "gpu-hang", "no-gpu"})
"""Rows of launch/causes.toml that another node may not have."""

_STOPPED = 128 + signal.SIGTERM

_UPDATES = 40
_UPDATE_PAUSE = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt of a job, as its script describes it."""

    files: JobFiles
    job: str
    restart: int
    nodes: tuple[str, ...]
    """In the order of their ranks."""

    max_requeues: int
    exclude: bool
    """Whether nodes that have failed are left out from now on."""

    @property
    def may_requeue(self) -> bool:
        return self.restart < self.max_requeues


def main() -> None:
    try:
        _main(_parse())
    except PrimusError as error:
        _say(str(error))
        sys.exit(error.status)


def _main(options: argparse.Namespace) -> None:
    attempt = Attempt(
        files=JobFiles(options.run),
        job=environ["SLURM_JOB_ID"],
        restart=int(environ.get("SLURM_RESTART_COUNT") or 0),
        nodes=tuple(expand(environ["SLURM_JOB_NODELIST"], environ)),
        max_requeues=options.max_requeues,
        exclude=options.exclude,
    )
    # SLURM ends a job that is requeued, this process included, before all is said.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    chain = _chain(attempt, options.chain) if options.chain else None
    if options.what == "begin":
        sys.exit(begin(attempt, chain))
    if options.what == "end":
        print(end(attempt, options.status, lost=options.lost, silent=options.silent, asked=options.asked, chain=chain))
    elif chain is not None and options.what == "untrained":
        end_untrained(chain, options.status, asked=options.asked)
    elif chain is not None:
        ask(chain, options.asked, trained=not options.untrained)


def begin(attempt: Attempt, chain: Chain | None = None) -> int:
    """What SLURM has started after or instead of another attempt: which nodes failed before that one ended, and whether
    to begin here at all."""
    if chain is not None:
        chain.take_over()
    if attempt.restart == 0:
        return 0
    if chain is not None:
        chain.withdraw()  # the attempt that has lined it up did not end for good
    before = _previous(attempt)
    if before is not None:
        _look_at_nodes(replace(attempt, job=before["job"], restart=before["restart"]), before["nodes"], before["time"])
    if attempt.restart > attempt.max_requeues:
        reason = f"SLURM has started the job again {attempt.restart} times (--max-requeues {attempt.max_requeues})"
        nodes = failed_nodes(attempt.files)
        _give_up(attempt, f"{reason}; nodes that failed: {', '.join(nodes)}" if nodes else reason)
        return ExitStatus.SERVICE
    bad = [node for node in attempt.nodes if node in failed_nodes(attempt.files)]
    if bad and attempt.exclude and attempt.may_requeue and _requeue(attempt, f"{', '.join(bad)} failed before"):
        return AGAIN
    return 0


def ask(chain: Chain, asked: str, *, trained: bool) -> None:
    """What follows from the signal that asked the job to end."""
    if not trained:
        chain.take_over()  # `begin` comes after the setup
    if asked == "USR1":
        chain.line_up(trained=trained)
    else:
        chain.asked_to_end(trained=trained)


def end_untrained(chain: Chain, status: int, *, asked: str) -> None:
    """The end of a job that was asked to stop before it came to the training."""
    if status not in STOPPED:
        chain.withdraw()
        return
    if asked == "USR1":
        chain.line_up(trained=False)  # where this is a further attempt, `begin` has taken it back
    chain.hand_over()


def end(
    attempt: Attempt, status: int, *, lost: Sequence[int], silent: str, asked: str, chain: Chain | None = None
) -> int:
    """The exit status of an attempt that failed. Where a node is at fault, the job is started again if it may be; where
    the time is up, the next job of the chain follows."""
    true = _end(attempt, status, lost=lost, silent=silent, asked=asked)
    if chain is not None:
        if true in STOPPED and asked == "USR1":
            chain.line_up()  # it was not taken before, perhaps
        if true in STOPPED or (lost and asked):
            chain.hand_over()
        else:
            chain.withdraw()
    return true


def _end(attempt: Attempt, status: int, *, lost: Sequence[int], silent: str, asked: str) -> int:
    run_dir = RunDirectory(attempt.files.run)
    if asked == "TERM":  # by SLURM, which may end the job for the sake of a node, or by a user
        _look_at_nodes(attempt, ",".join(attempt.nodes), utc_now())
        lost = ()
    nodes, why = _at_fault(attempt, run_dir, lost, silent)
    if nodes:
        _note_failed(attempt, nodes, why)
        if not asked and attempt.may_requeue and _requeue(attempt, why):
            return int(ExitStatus.SERVICE)
        if lost:
            _give_up(attempt, f"{why} (--max-requeues {attempt.max_requeues})")
            return int(ExitStatus.SERVICE)
    if status == 0 or (silent and not lost):  # srun was ended, or had to end the step: it does not know
        noted = run_dir.read_status()
        status = _STOPPED if noted is None or noted.exit_status is None else noted.exit_status
        if status == 0:
            return 0
    true = true_status(run_dir, f"{attempt.job}-{attempt.restart}", status)
    correct(run_dir, true)
    return true


def failed_nodes(files: JobFiles) -> list[str]:
    """Every node that an attempt of this run was lost on, each once."""
    noted = [node for line in files.read_attempts() if line["state"] == "node failed" for node in line["failed"]]
    return list(dict.fromkeys(noted))


def _at_fault(attempt: Attempt, run_dir: RunDirectory, lost: Sequence[int], silent: str) -> tuple[list[str], str]:
    """The nodes that an attempt failed for, and why; none where it failed for another reason."""
    names = [attempt.nodes[rank] for rank in lost]
    text = f"node{'s' * (len(names) > 1)} {', '.join(names)}"
    if names and silent:
        return names, f"{text} gave no sign of life for {silent} s, while SLURM took the job for running"
    status = run_dir.read_status()
    unsaid = status is None or status.state not in FINAL_STATES or "went away" in (status.cause or "")
    if names and unsaid:
        return names, f"{text} went away without a word"
    diagnosis = None if status is None else status.diagnosis
    if attempt.exclude and status is not None and diagnosis and diagnosis["name"] in _NODE_AT_FAULT:
        rank = int(status.failures[0]["node"]) if status.failures else 0
        return [attempt.nodes[rank]], f"node {attempt.nodes[rank]}: {diagnosis['cause']}"
    return [], ""


def _requeue(attempt: Attempt, why: str) -> bool:
    """Let SLURM start the job again, without the nodes that failed when that is wanted; whether SLURM does it."""
    bad = failed_nodes(attempt.files) if attempt.exclude else []
    try:
        call("scontrol", ["requeue", attempt.job], environ)
    except PrimusError as error:
        _say(f"{why}; can't be started again: {error}")
        return False
    attempt.files.note(state="requeued", job=attempt.job, restart=attempt.restart, why=why)
    _say(f"{why}; starts again (requeue {attempt.restart + 1} of {attempt.max_requeues})")
    if bad:
        _leave_out(attempt.job, bad)
    return True


def _leave_out(job: str, nodes: Sequence[str]) -> None:
    """SLURM takes this of a pending job only: from when it is requeued to when it has ended us."""
    refusal: ServiceError | None = None
    for _ in range(_UPDATES):
        try:
            call("scontrol", ["update", f"JobId={job}", f"ExcNodeList={','.join(nodes)}"], environ)
        except ServiceError as error:
            refusal = error
            time.sleep(_UPDATE_PAUSE)
        else:
            _say(f"without {', '.join(nodes)}")
            return
    _say(f"can't leave out {', '.join(nodes)}: {refusal}")


def _previous(attempt: Attempt) -> Mapping[str, Any] | None:
    """What the script noted when the attempt before this one began."""
    begun = [line for line in attempt.files.read_attempts() if line["state"] == "running"]
    earlier = [line for line in begun if (line["job"], line["restart"]) != (attempt.job, attempt.restart)]
    return earlier[-1] if earlier else None


def _look_at_nodes(attempt: Attempt, nodes: str, since: str) -> None:
    """Note those of the nodes that are down, or have been started anew."""
    try:
        found = failed_since(nodes, since, environ)
    except PrimusError as error:  # the attempt goes on all the same
        _say(f"can't ask for the state of {nodes}: {error}")
        return
    for node, why in found.items():
        _note_failed(attempt, [node], why)


def _note_failed(attempt: Attempt, nodes: Sequence[str], why: str) -> None:
    known = failed_nodes(attempt.files)
    new = [node for node in nodes if node not in known]
    if new:
        attempt.files.note(state="node failed", job=attempt.job, restart=attempt.restart, failed=new, why=why)
        _say(why)


def _give_up(attempt: Attempt, cause: str) -> None:
    """Say in status.json, which the launcher of a lost node has left as it was, that there is no next attempt."""
    _say(cause)
    run_dir = RunDirectory(attempt.files.run)
    status = run_dir.read_status()
    if status is not None:
        now = utc_now()
        ended = replace(status, state="failed", exit_status=int(ExitStatus.SERVICE), cause=cause, updated=now)
        run_dir.write_status(replace(ended, ended=status.ended or now))


def _chain(attempt: Attempt, most: int) -> Chain:
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return Chain(
        files=attempt.files,
        job=f"{array}_{task}" if array and task else attempt.job,
        most=most,
        bad=failed_nodes(attempt.files) if attempt.exclude else [],
        environ=environ,
        say=_say,
    )


def _say(text: str) -> None:
    print(f"primus: {text}", file=sys.stderr, flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("what", choices=("begin", "asked", "untrained", "end"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--max-requeues", type=int, required=True)
    parser.add_argument("--exclude", action="store_true")
    parser.add_argument("--chain", type=int, default=0)
    parser.add_argument("--status", type=int, default=0)
    parser.add_argument("--lost", type=int, nargs="*", default=())
    parser.add_argument("--silent", default="", help="seconds after which the attempt was given up")
    parser.add_argument("--untrained", action="store_true", help="the job has not come to the training")
    parser.add_argument("--asked", default="", help="the signal that asked the attempt to stop")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""The exit status of a training that failed on some node: `python -m primus.launch.slurm.outcome RUN ATTEMPT STATUS`.
The job script runs it, since srun only knows the highest status, often that of a node killed for another's sake."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from primus.launch.failure import died_of, first_failure
from primus.launch.slurm.record import JobFiles
from primus.launch.slurm.states import STOPPED
from primus.redact import redact_text
from primus.run import RunDirectory, Status, utc_now

_ERROR = "Error: "
"""How cli.py begins what it says of an error."""


def main() -> None:
    run, attempt, status = sys.argv[1:]
    run_dir = RunDirectory(run)
    true = true_status(run_dir, attempt, int(status))
    correct(run_dir, true)
    print(true)


def true_status(run_dir: RunDirectory, attempt: str, status: int) -> int:
    """That of the worker that failed first; else of the node that did; else srun's, which is `status`."""
    failure = first_failure(run_dir.read_failures())
    if failure is not None:
        return int(failure["exit_status"])
    nodes = [path.read_text().split() for path in JobFiles(run_dir.path).folder.glob(f"failed-{attempt}-node*")]
    ends = [(died_of(int(node[1])) is not None, float(node[0]), int(node[1])) for node in nodes if len(node) == 2]
    return min(ends)[2] if ends else status


def correct(run_dir: RunDirectory, status: int) -> None:
    """Let status.json say how the run ended: node 0, which writes it, may have been stopped because another failed."""
    written = run_dir.read_status()
    failure = first_failure(run_dir.read_failures())
    if written is None:
        _note_refusal(run_dir, status)
    if written is None or written.exit_status == status:
        return
    if failure is None and written.state == "interrupted":
        return
    cause = f"a node of the job left with exit status {status}"
    if failure is not None:
        cause = f"rank {failure['rank']} on node {failure['node']}: {redact_text(failure['message'])}"
    now = utc_now()
    run_dir.write_status(
        replace(written, state="failed", exit_status=status, cause=cause, ended=written.ended or now, updated=now)
    )


def _note_refusal(run_dir: RunDirectory, status: int) -> None:
    """No launcher came as far as status.json: what the first node with an error has said is why, for lack of an image,
    for instance."""
    logs = sorted(JobFiles(run_dir.path).logs.glob("node*.log"))
    said = [_last_error(log) for log in logs]
    cause = next(filter(None, said), None)
    if cause is not None and status not in STOPPED:
        now = utc_now()
        run_dir.write_status(Status(state="failed", exit_status=status, cause=cause, ended=now, updated=now))


def _last_error(log: Path) -> str | None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    return redact_text(errors[-1]) if errors else None


if __name__ == "__main__":
    main()

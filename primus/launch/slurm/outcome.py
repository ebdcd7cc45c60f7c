"""The exit status of a training that failed on some node: `python -m primus.launch.slurm.outcome RUN ATTEMPT STATUS`.
The job script runs it, since srun only knows the highest status, often that of a node killed for another's sake."""

from __future__ import annotations

import sys
from dataclasses import replace

from primus.launch.failure import died_of, first_failure
from primus.launch.slurm.record import JobFiles
from primus.redact import redact_text
from primus.run import RunDirectory, utc_now


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


if __name__ == "__main__":
    main()

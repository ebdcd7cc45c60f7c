"""Runs the stages in their order: here one after another, on SLURM as jobs that wait for each other. stages.py calls
one of TARGETS; that for Kubernetes is in kubernetes.py."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence

from primus.commands.tune.call import call, command_of
from primus.commands.tune.given import PASSED_ON, Wish, refuse, stage_words, words
from primus.commands.tune.kubernetes import on_kubernetes
from primus.errors import ExitStatus, UsageError


def here(wish: Wish, stages: Sequence[int]) -> int:
    """The stages on this machine; `all` goes on where it was left."""
    if len(stages) == 1:
        command = command_of(["train", *train_words(wish, stages[0])])
        os.execve(command[0], command, _environ(wish))  # signals and status are its own
    if _nodes(wish) > 1:
        raise UsageError(
            "--stage all: on one node, or with --target slurm, since stage 2 is done by one node and the others would "
            "wait for it. Run --stage 1 on all nodes, --stage 2 on the first, --stage 3 on all"
        )
    status = 0
    for stage in stages:
        print(f"Stage {stage}", flush=True)
        ended = call(["train", *train_words(wish, stage)], wish.variables)
        if ended not in (0, ExitStatus.PARTIAL):  # of some shapes only: what was tuned can be used
            return ended
        status = status or ended
    return status


def train_words(wish: Wish, stage: int) -> list[str]:
    """The command line of `primus train` for one stage."""
    return [*stage_words(wish, stage), *words(wish.options, PASSED_ON), *wish.more]


def on_slurm(wish: Wish, stages: Sequence[int]) -> int:
    """A job for each stage, submitted at once; each waits for the one before it."""
    job = ""
    for stage in stages:
        argv = ["slurm", "submit", *slurm_words(wish, stage, after=job if len(stages) > 1 else "")]
        if wish.dry_run or len(stages) == 1:
            status = call(argv, wish.variables)
        else:
            done = subprocess.run(
                command_of([*argv, "--parsable"]), env=_environ(wish), stdout=subprocess.PIPE, check=False
            )
            status, job = done.returncode, done.stdout.decode().strip()
            print(f"Stage {stage}: job {job}" if not status else f"Stage {stage} was not submitted", flush=True)
        if status:
            return status
    return 0


def slurm_words(wish: Wish, stage: int, *, after: str = "") -> list[str]:
    """The command line of `primus slurm submit` for one stage. `after` is the job of the stage before."""
    refuse(wish, "slurm", ("node_rank", "master_addr"))
    options = {**wish.options, "nnodes": 1} if stage == 2 else wish.options
    # Stage 2 that could not tune all shapes leaves with a status of its own, and stage 3 checks what is there.
    kind = "afterany" if stage == 3 else "afterok"
    dependency = ["--dependency", f"{kind}:{after.partition(';')[0]}"] if after else []
    return [*stage_words(wish, stage), *words(options, PASSED_ON), *dependency, *wish.more]


TARGETS: Mapping[str, Callable[[Wish, Sequence[int]], int]] = {
    "local": here,
    "slurm": on_slurm,
    "k8s": on_kubernetes,
}


def _nodes(wish: Wish) -> int:
    return int(wish.options.get("nnodes") or os.environ.get("NNODES") or 1)


def _environ(wish: Wish) -> dict[str, str]:
    return {**os.environ, **wish.variables}

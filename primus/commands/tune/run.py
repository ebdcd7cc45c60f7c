"""Runs the stages in their order: here one after another, on SLURM as jobs that wait for each other, on Kubernetes one
workload at a time. stages.py calls one of TARGETS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from primus.commands.tune.given import PASSED_ON, Wish, words
from primus.errors import ExitStatus, UsageError
from primus.lifeline import end_with_parent


def here(wish: Wish, stages: Sequence[int]) -> int:
    """The stages on this machine; `all` goes on where it was left."""
    if len(stages) == 1:
        command = _primus(["train", *train_words(wish, stages[0])])
        os.execve(command[0], command, _environ(wish))  # signals and status are its own
    if _nodes(wish) > 1:
        raise UsageError(
            "--stage all: on one node, or with --target slurm, since stage 2 is done by one node and the others would "
            "wait for it. Run --stage 1 on all nodes, --stage 2 on the first, --stage 3 on all"
        )
    status = 0
    for stage in stages:
        if stage == 1 and not wish.fresh and _is_dumped(wish):
            continue
        print(f"Stage {stage}", flush=True)
        ended = _run(["train", *train_words(wish, stage)], wish.variables)
        if ended not in (0, ExitStatus.PARTIAL):  # of some shapes only: what was tuned can be used
            return ended
        status = status or ended
    return status


def train_words(wish: Wish, stage: int) -> list[str]:
    """The command line of `primus train` for one stage."""
    return [*_common(wish, stage), *words(wish.options, PASSED_ON), *wish.more]


def on_slurm(wish: Wish, stages: Sequence[int]) -> int:
    """A job for each stage, submitted at once; each waits for the one before it."""
    job = ""
    for stage in stages:
        argv = ["slurm", "submit", *slurm_words(wish, stage, after=job if len(stages) > 1 else "")]
        if wish.dry_run or len(stages) == 1:
            status = _run(argv, wish.variables)
        else:
            done = subprocess.run(
                _primus([*argv, "--parsable"]), env=_environ(wish), stdout=subprocess.PIPE, check=False
            )
            status, job = done.returncode, done.stdout.decode().strip()
            print(f"Stage {stage}: job {job}" if not status else f"Stage {stage} was not submitted", flush=True)
        if status:
            return status
    return 0


def slurm_words(wish: Wish, stage: int, *, after: str = "") -> list[str]:
    """The command line of `primus slurm submit` for one stage. `after` is the job of the stage before."""
    _refuse(wish, "slurm", ("node_rank", "master_addr"))
    options = {**wish.options, "nnodes": 1} if stage == 2 else wish.options
    # Stage 2 that could not tune all shapes leaves with a status of its own, and stage 3 checks what is there.
    kind = "afterany" if stage == 3 else "afterok"
    dependency = ["--dependency", f"{kind}:{after.partition(';')[0]}"] if after else []
    return [*_common(wish, stage), *words(options, PASSED_ON), *dependency, *wish.more]


def on_kubernetes(wish: Wish, stages: Sequence[int]) -> int:
    """One workload; Kubernetes has no order of workloads that Primus could ask for."""
    if len(stages) > 1:
        raise UsageError(
            "--stage all: not with --target k8s, where no workload waits for another. Create --stage 1, wait for it "
            "with `primus k8s wait`, then --stage 2, and after that --stage 3"
        )
    (stage,) = stages
    return _run(["k8s", *kubernetes_words(wish, stage)], {})


def kubernetes_words(wish: Wish, stage: int) -> list[str]:
    """`create` and its command line for one stage. What stands after `--` and before `create` there goes before it."""
    _refuse(wish, "k8s", ("node_rank", "master_addr", "master_port", "container", "privileged", "mounts"))
    options = {**wish.options, "nnodes": 1} if stage == 2 else wish.options
    told = dict(wish.variables)
    if os.environ.get("PRIMUS_MODEL"):
        told["PRIMUS_MODEL"] = os.environ["PRIMUS_MODEL"]
    variables = [word for name, value in told.items() for word in ("--env", f"{name}={value}")]
    group, own = (
        (wish.more[: wish.more.index("create")], wish.more[wish.more.index("create") + 1 :])
        if ("create" in wish.more)
        else ((), wish.more)
    )
    return [*group, "create", *_common(wish, stage), *words(options, _KUBERNETES), *variables, *own]


_KUBERNETES = {**PASSED_ON, "nnodes": "--replica", "nproc_per_node": "--gpu"}

TARGETS: Mapping[str, Callable[[Wish, Sequence[int]], int]] = {
    "local": here,
    "slurm": on_slurm,
    "k8s": on_kubernetes,
}


def _common(wish: Wish, stage: int) -> list[str]:
    return ["--exp", wish.exp, "--tune-stage", str(stage), *(["--dry-run"] if wish.dry_run else [])]


def _refuse(wish: Wish, target: str, names: Sequence[str]) -> None:
    wrong = [PASSED_ON[name] for name in names if name in wish.options]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: not with --target {target}, which decides that itself")


def _nodes(wish: Wish) -> int:
    return int(wish.options.get("nnodes") or os.environ.get("NNODES") or 1)


def _is_dumped(wish: Wish) -> bool:
    """Whether stage 1 has dumped the shapes of this very experiment, on as many processes; says so."""
    from primus.backends.prepare import prepare
    from primus.launch.devices import find_accelerators
    from primus.tuning.again import dumped_before

    prepared = prepare(
        wish.exp,
        sets=wish.options.get("sets", ()),
        framework=wish.options.get("backend") or os.environ.get("BACKEND"),
        environ=os.environ,
    )
    processes = wish.options.get("nproc_per_node") or os.environ.get("GPUS_PER_NODE")
    found = dumped_before(
        prepared.usable(),
        nnodes=1,
        nproc_per_node=int(processes or find_accelerators(os.environ).count or 1),
        steps=wish.steps,
        environ=os.environ,
    )
    if found is not None:
        print(f"Stage 1 is done: {found}. --fresh repeats it.", flush=True)
    return found is not None


def _run(argv: Sequence[str], variables: Mapping[str, str]) -> int:
    """A command of ours to its end; its status as a shell has it. Signals that end us reach it first."""
    command = _primus(argv)
    with subprocess.Popen(command, env={**os.environ, **variables}, preexec_fn=end_with_parent) as child:  # noqa: PLW1509

        def pass_on(number: int, frame: FrameType | None) -> None:
            child.send_signal(number)

        handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGUSR1)}
        handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the child, too
        try:
            status = child.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _primus(argv: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "primus", *argv]


def _environ(wish: Wish) -> dict[str, str]:
    return {**os.environ, **wish.variables}

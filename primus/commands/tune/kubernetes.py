"""The stages as workloads on Kubernetes: one is created when the one before it has ended, since no workload there waits
for another. run.py has it among its TARGETS."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import PurePosixPath

from primus.commands.tune.call import call, command_of
from primus.commands.tune.given import PASSED_ON, Wish, refuse, stage_words, words
from primus.errors import ExitStatus, UsageError


def on_kubernetes(wish: Wish, stages: Sequence[int]) -> int:
    """One stage is created and left to itself; of all of them each is waited for."""
    if len(stages) == 1 or wish.dry_run:
        statuses = (call(["k8s", *kubernetes_words(wish, stage)], {}) for stage in stages)
        return next((status for status in statuses if status), 0)
    where = connection(wish)
    ended = 0
    for stage in stages:
        argv = ["k8s", *kubernetes_words(wish, stage, "--output", "id")]
        made = subprocess.run(command_of(argv), stdout=subprocess.PIPE, text=True, check=False)
        if made.returncode:
            print(f"Stage {stage} was not created", flush=True)
            return made.returncode
        id = made.stdout.strip()
        print(f"Stage {stage}: workload {id}", flush=True)
        status = call(["k8s", *where, "wait", "--workload-id", id], {})
        if status not in (0, ExitStatus.PARTIAL):  # of some shapes only: what was tuned can be used
            print(
                f"Stage {stage}: status {status} while waiting for workload {id}; `primus k8s get --workload-id {id}` "
                "shows how it is. When it has ended, the same command goes on from there",
                file=sys.stderr,
            )
            return status
        ended = ended or status
    return ended


def kubernetes_words(wish: Wish, stage: int, *besides: str) -> list[str]:
    """`create` and its command line for one stage. What stands after `--` and before `create` there goes before it."""
    refuse(wish, "k8s", ("node_rank", "master_addr", "master_port", "container", "privileged", "mounts"))
    options = {**wish.options, "nnodes": 1} if stage == 2 else wish.options
    told = dict(wish.variables)
    if os.environ.get("PRIMUS_MODEL"):
        told["PRIMUS_MODEL"] = os.environ["PRIMUS_MODEL"]
    variables = [word for name, value in told.items() for word in ("--env", f"{name}={value}")]
    group, own = _parts(wish)
    return [*group, "create", *stage_words(wish, stage), *words(options, _KUBERNETES), *variables, *besides, *own]


_KUBERNETES = {**PASSED_ON, "nnodes": "--replica", "nproc_per_node": "--gpu"}


def _parts(wish: Wish) -> tuple[Sequence[str], Sequence[str]]:
    """What is for `primus k8s` itself, and what is for its `create`."""
    if "create" not in wish.more:
        return (), wish.more
    at = wish.more.index("create")
    return wish.more[:at], wish.more[at + 1 :]


def connection(wish: Wish) -> list[str]:
    """Where the workloads are, for the commands that look at them. UsageError when the stages would not meet there."""
    group, own = _parts(wish)
    if not any(word.partition("=")[0] in ("--context", "--kubeconfig", "--in-cluster") for word in group):
        return [*group]  # a Primus-SaFE server mounts the storage of its workspaces itself
    _require_storage(wish, own)
    namespace = _values(own, "--workspace")[-1:] if not _values(group, "--namespace", "-n") else []
    return [*group, *(word for name in namespace for word in ("--namespace", name))]


def _values(given: Sequence[str], *names: str) -> list[str]:
    """What an option is given, as `--name value` or `--name=value`, before the words for `primus train`."""
    found = []
    waiting = False
    for word in given:
        name, sign, value = word.partition("=")
        if waiting:
            found.append(word)
            waiting = False
        elif word == "--":
            break
        elif name in names and sign:
            found.append(value)
        else:
            waiting = word in names
    return found


def _require_storage(wish: Wish, own: Sequence[str]) -> None:
    """A pod's own disk goes with it: what one stage leaves for the next must lie on a volume."""
    from primus.experiment import load
    from primus.launch.k8s.native.options import parse_volume

    experiment = load(wish.exp, sets=wish.options.get("sets", ()), framework=wish.options.get("backend"))
    inside = (_values(own, "--workdir") or [os.getcwd()])[-1]
    folder = PurePosixPath(os.path.normpath(os.path.join(inside, experiment.workspace)))
    volumes = [parse_volume(each) for each in _values(own, "--volume")]
    holding = [each for each in volumes if folder.is_relative_to(each.path)]
    if not holding:
        raise UsageError(
            f"--stage all: the stages leave their files for each other in {folder}, and no --volume holds that in the "
            f"pods. Name a storage that all of them share after `create`: --volume pvc:CLAIM:{folder.parent}, or "
            f"--volume host:{folder.parent} where the nodes mount it; --workdir is the folder in the pods, when it is "
            "another than this one"
        )
    nearest = max(holding, key=lambda each: len(PurePosixPath(each.path).parts))
    if nearest.read_only:
        raise UsageError(f"--stage all: the stages write into {folder}, and --volume mounts {nearest.path} with `:ro`")

"""What `primus train --dry-run` prints: the process, its environment and the files of a job. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from primus.job import Job
from primus.launch.environment import Decision, decide
from primus.launch.render import command, place
from primus.launch.sole import lock_path
from primus.redact import HIDDEN, is_secret_name, redact_environment, redact_text
from primus.run import RunDirectory

if TYPE_CHECKING:
    from primus.launch.container.render import Container

ENV_FILE = "ENV_FILE"
"""Stands for the file with the container's variables."""

RUN_ID = "TIME-ID"
"""Stands for the name that a run directory gets when the run starts."""


def explain(job: Job, *, beginning: str, environ: Mapping[str, str], container: Container | None = None) -> str:
    """The job in a few paragraphs. `beginning` says where training would start."""
    image = container.image.environment if container and container.image else {}
    sections = {
        "": _facts(job, beginning),
        "Command": [shlex.join(command(job))] if container is None else [shlex.join(container.argv(ENV_FILE))],
        **_variables(container),
        **{title: text.splitlines() for title, text in job.shown.items()},
        **_network(job),
        "Environment that Primus adds": [*_environment(job, environ, image), *_place(job)],
        **_without(job, {**image, **environ}),
        "Files that would be written": _files(job),
    }
    return "\n\n".join(_section(title, lines) for title, lines in sections.items())


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)] if title else lines)


def _facts(job: Job, beginning: str) -> list[str]:
    resources = job.resources
    first = resources.node_rank * resources.nproc_per_node
    last = first + resources.nproc_per_node - 1
    rows = {
        "Experiment": f"{job.name} ({job.backend})",
        "Processes": f"{resources.world_size} on {_accelerator(job)}: {resources.nnodes} node"
        f"{'s' * (resources.nnodes > 1)} with {resources.nproc_per_node} each",
        "This node": f"{resources.node_rank}, with rank{f's {first} to {last}' if last > first else f' {first}'}",
        "Rendezvous": f"{resources.master_addr or '127.0.0.1'}, port {resources.master_port or 'taken when it starts'}",
        "Steps": "as the backend decides" if job.total_steps is None else f"{job.total_steps:,}",
        "Start": beginning,
    }
    return [f"{name + ':':<12}{text}" for name, text in rows.items()]


def _accelerator(job: Job) -> str:
    resources = job.resources
    return f"{resources.accelerator} ({resources.gpu_model})" if resources.gpu_model else resources.accelerator


def _network(job: Job) -> dict[str, list[str]]:
    """What was found on this node; nothing for a single one."""
    network = job.resources.network
    if network is None:
        return {}
    lines = [f"Interface:  {network.interface or 'none'}, {network.route}"]
    if job.resources.accelerator != "cpu":
        lines.append(f"RDMA ports: {network.fabric}")
    if network.link == "roce":
        lines.append(f"GID index:  {'none' if network.gid_index is None else network.gid_index}, {network.gid}")
    return {"Network of this node": lines}


def _variables(container: Container | None) -> dict[str, list[str]]:
    """What the container is given in a file that is gone once it was read."""
    if container is None:
        return {}
    shown = redact_environment(container.variables)
    return {f"Variables in {ENV_FILE}": [f"{name}={shlex.quote(value)}" for name, value in shown.items()]}


def _environment(job: Job, environ: Mapping[str, str], image: Mapping[str, str]) -> list[str]:
    decisions = decide(job, environ, image)
    shown = [_assignment(decision) for decision in decisions]
    width = min(max(map(len, shown), default=0), 44)
    return [f"{text:<{width}}  # {_why(decision)}" for text, decision in zip(shown, decisions, strict=True)]


def _without(job: Job, environ: Mapping[str, str]) -> dict[str, list[str]]:
    """What is taken away, where it is set."""
    taken = [f"{name}  # {reason}" for name, reason in job.without.items() if name in environ]
    return {"Environment that Primus takes away": taken} if taken else {}


def _assignment(decision: Decision) -> str:
    name, value = decision.variable.name, decision.value
    return f"{name}={HIDDEN if is_secret_name(name) else shlex.quote(redact_text(value))}"


def _why(decision: Decision) -> str:
    """Where the value is from, and the reason for it."""
    wish = decision.variable
    if decision.set_by is None:
        return f"{decision.source}: {wish.reason}"
    owner = "yours" if decision.set_by == "user" else "the image's"
    value = HIDDEN if is_secret_name(wish.name) else redact_text(wish.value)
    return f"{owner}; {decision.source} would set {value or 'it empty'}: {wish.reason}"


def _place(job: Job) -> list[str]:
    place_of_worker = place(job.resources)
    if not place_of_worker:
        return [
            "RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and the like  # as torchrun would, different for each worker"
        ]
    words = [f"{name}={value}" for name, value in place_of_worker.items()]
    return [f"{' '.join(words)}  # what torchrun would say; port 0 is a free one"]


def _files(job: Job) -> list[str]:
    run_dir, resources = RunDirectory(job.run_dir), job.resources
    ranks = range(resources.node_rank * resources.nproc_per_node, (resources.node_rank + 1) * resources.nproc_per_node)
    logs = [
        run_dir.log_path(resources.node_rank, rank) for rank in (ranks if len(ranks) < 3 else [ranks[0], ranks[-1]])
    ]
    lock = lock_path(run_dir.path.parent.parent)
    own = [] if resources.node_rank else [lock, run_dir.manifest, run_dir.status]
    written: list[Path] = [*(run_dir.path / name for name in job.files), *own, run_dir.metrics, run_dir.model, *logs]
    return [str(path) for path in written]

"""A job as the process that runs it on this node: its command line and its environment. Pure; local.py starts what this
returns, and dry_run.py shows it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from primus.job import Job, Resources
from primus.launch.environment import decide
from primus.run import ATTEMPT_VARIABLE, RunDirectory

_RENDEZVOUS = frozenset(
    {
        *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "NODE_RANK", "NNODES"),
        *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
        *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_ERROR_FILE"),
    }
)
"""Variables that describe a worker's place. Those of whoever started `primus` are not passed on."""


def command(job: Job, python: str = sys.executable) -> list[str]:
    """The process that is started on this node."""
    worker = ["-m", job.module, *job.worker_args]
    if job.resources.world_size == 1:
        return [python, *worker]
    return [python, "-m", "primus.launch.agent", *_place_of_node(job), *worker]


def environment(job: Job, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of that process: the user's, what Primus adds, and a single worker's place."""
    inherited = {name: value for name, value in environ.items() if name not in _RENDEZVOUS and name not in job.without}
    return inherited | additions(job, environ)


def additions(job: Job, environ: Mapping[str, str], image: Mapping[str, str] | None = None) -> dict[str, str]:
    """What that environment holds besides the user's and, in a container, that of the image."""
    decisions = [decision for decision in decide(job, environ, image) if decision.set_by != "image"]
    added = {decision.variable.name: decision.value for decision in decisions}
    return added | place(job.resources) | {ATTEMPT_VARIABLE: str(job.attempt)}


def place(resources: Resources) -> dict[str, str]:
    """What torchrun would tell a single worker; nothing for several, whose agent tells each its own."""
    if resources.world_size > 1:
        return {}
    port = resources.master_port or 0  # 0: the worker's own store takes a free one
    return {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "GROUP_RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": resources.master_addr or "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def first_log(job: Job) -> Path:
    """Where the process that runs the workers prints to."""
    run_dir, node = RunDirectory(job.run_dir), job.resources.node_rank
    return run_dir.log_path(node, 0) if job.resources.world_size == 1 else run_dir.agent_log(node)


def _place_of_node(job: Job) -> list[str]:
    resources = job.resources
    return [
        f"--nnodes={resources.nnodes}",
        f"--node-rank={resources.node_rank}",
        f"--nproc-per-node={resources.nproc_per_node}",
        f"--master-addr={resources.master_addr or '127.0.0.1'}",
        f"--master-port={resources.master_port or 0}",  # 0: the agent takes a free one
    ]

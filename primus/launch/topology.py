"""From options and devices to Resources: how many processes where, and whether that can be. `primus train` and
`primus doctor` call it."""

from __future__ import annotations

import os

from primus.errors import MissingError, UsageError
from primus.job import Resources
from primus.launch.devices import Accelerators

_MOST_PER_CPU = 32
"""Workers without GPUs. One is the use of it, a few are for trying a layout out; hundreds would take all the memory."""


def plan_resources(
    *,
    nnodes: int,
    node_rank: int,
    nproc_per_node: int | None,
    master_addr: str | None,
    master_port: int | None,
    accelerators: Accelerators,
) -> Resources:
    """Resources of this launch; None takes the default. An option that can't be is an error that names it."""
    processes = nproc_per_node or accelerators.count or 1
    if node_rank >= nnodes:
        last = "there is one node (--nnodes), number 0" if nnodes == 1 else f"the nodes count from 0 to {nnodes - 1}"
        raise UsageError(f"--node-rank {node_rank}: {last}")
    if accelerators.count and processes > accelerators.count:
        raise MissingError(
            f"--nproc-per-node {processes}: this machine has {accelerators.count} {accelerators.kind} GPUs for them "
            f"({accelerators.evidence}), and a GPU takes one process"
        )
    cpus = len(os.sched_getaffinity(0))
    if not accelerators.count and processes > cpus * _MOST_PER_CPU:
        raise MissingError(
            f"--nproc-per-node {processes}: this machine has no GPU, and {cpus} CPUs take {cpus * _MOST_PER_CPU} "
            f"workers at most ({_MOST_PER_CPU} each)"
        )
    if nnodes > 1:
        _require_rendezvous(nnodes, master_addr, master_port)
    return Resources(
        nnodes=nnodes,
        node_rank=node_rank,
        nproc_per_node=processes,
        master_addr=master_addr,
        master_port=master_port,
        accelerator=accelerators.kind,
        gpu_model=accelerators.model,
    )


def _require_rendezvous(nodes: int, address: str | None, port: int | None) -> None:
    missing = [option for option, value in (("--master-addr", address), ("--master-port", port)) if value is None]
    if missing:
        raise UsageError(
            f"{nodes} nodes need {' and '.join(missing)}: the address of node 0 and a port that is free there, "
            "the same on every node"
        )

"""What a backend plans and a target launches. Pure values: building one touches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """How this node reaches the others, each fact with the reason for it. launch/network.py finds it."""

    interface: str | None = None
    """For sockets; None when no route leads to another machine."""

    route: str = ""
    """Why that interface."""

    link: Literal["infiniband", "roce"] | None = None
    """Of the training fabric; None without RDMA."""

    ports: tuple[str, ...] = ()
    """RDMA ports of the training fabric, as `device:port`."""

    fabric: str = ""
    """Why those ports, and why not others."""

    gid_index: int | None = None
    """Of the RoCE v2 address, when it is the same on every port."""

    gid: str = ""
    """Where the address was found, or why there is no index."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What one launch asks for."""

    nnodes: int = 1
    """Nodes, at least 1."""

    nproc_per_node: int = 1
    """Worker processes per node; one per GPU, or any number on a CPU."""

    node_rank: int = 0
    """This node, from 0."""

    master_addr: str | None = None
    """Address of node 0 for the rendezvous; None on a single node."""

    master_port: int | None = None
    """TCP port of the rendezvous on node 0; None takes a free one (single node only)."""

    accelerator: str = "cpu"
    """`cpu`, `amd` or `nvidia`."""

    gpu_model: str | None = None
    """Its architecture or name, for instance `gfx942`; None when it is not known, or on a CPU."""

    network: Network | None = None
    """Of this node, when there are several; None where it was not looked at."""

    @property
    def world_size(self) -> int:
        return self.nnodes * self.nproc_per_node


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """An environment variable that Primus adds for the workers, and why."""

    name: str
    value: str
    reason: str
    source: str = ""
    """Who wants it; empty for the backend."""

    firm: bool = False
    """It takes the place of the user's or the image's value, which would defeat what was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One training job: what each worker process runs, and where."""

    name: str
    """The experiment's name."""

    backend: str
    module: str
    """Python module that every worker process runs as `python -m MODULE RUN_DIR ARGS`."""

    args: tuple[str, ...] = ()
    """Arguments after the run directory."""

    total_steps: int | None = None
    """Steps of the whole training, for progress; None when the backend does not know before it starts."""

    environment: tuple[Variable, ...] = ()
    """Variables that the backend needs; the user's own value of a variable wins."""

    without: Mapping[str, str] = field(default_factory=dict)
    """Variables that the workers must not have, not even empty ones, each with the reason."""

    experts: bool = False
    """The model is a mixture of experts."""

    resources: Resources
    run_dir: Path
    """Absolute; nothing exists there until the job is submitted."""

    attempt: int = 1
    """Counts the launches in this run directory, from 1."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Text files to write into the run directory before launch, by relative path."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """More for the manifest."""

    shown: Mapping[str, str] = field(default_factory=dict)
    """What a dry run prints besides: text by its title."""

    console_ranks: tuple[int, ...] = (0,)
    """Global ranks whose output the terminal shows."""

    @property
    def worker_args(self) -> tuple[str, ...]:
        """The command line of every worker process, after `python -m MODULE`."""
        total = () if self.total_steps is None else ("--total-steps", str(self.total_steps))
        return (str(self.run_dir), *self.args, *total)

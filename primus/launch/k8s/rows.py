"""What both targets tell about workloads and nodes, and how it stands on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from primus.errors import UsageError, did_you_mean
from primus.table import table


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadRow:
    """One workload in a list."""

    id: str
    name: str
    phase: str
    message: str = ""
    replicas: int = 0
    gpus: int = 0
    """Of all pods together."""

    user: str = ""
    workspace: str = ""
    """Or namespace."""

    created: str = ""
    ended: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRow:
    """One node of a cluster."""

    name: str
    id: str
    address: str = ""
    cluster: str = ""
    workspace: str = ""
    available: bool = True
    message: str = ""
    """Why it is not available."""

    gpus: int = 0
    free_gpus: int | None = 0
    """None where that can't be known."""

    users: tuple[str, ...] = ()
    """Who runs something there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """One pod of a workload."""

    name: str
    phase: str
    node: str = ""
    message: str = ""
    exit_status: int | None = None
    """Of the training in it, once it has ended."""


def require_nodes(wanted: Sequence[str], rows: Sequence[NodeRow]) -> None:
    """An error for each of the nodes that was asked for and is not among those that there are."""
    names = {name for row in rows for name in (row.name, row.id)}
    unknown = [node for node in wanted if node not in names]
    if unknown and names:
        raise UsageError(
            "\n".join(f"--nodelist: there is no node {node}.{did_you_mean(node, names)}" for node in unknown)
        )


def pod_table(pods: Sequence[Pod]) -> str:
    header = ("pod", "phase", "node", "exit status", "message")
    cells = [
        (pod.name, pod.phase, pod.node, "" if pod.exit_status is None else str(pod.exit_status), pod.message)
        for pod in pods
    ]
    return table(header, cells, right=(3,)) if pods else "No pods."


def workload_table(rows: Sequence[WorkloadRow]) -> str:
    header = ("id", "phase", "nodes", "gpus", "user", "workspace", "created")
    cells = [
        (row.id, row.phase, str(row.replicas), str(row.gpus), row.user, row.workspace, row.created) for row in rows
    ]
    return table(header, cells, right=(2, 3)) if rows else "No workloads."


def node_table(rows: Sequence[NodeRow]) -> str:
    header = ("node", "state", "free gpus", "gpus", "workspace", "address", "used by")
    cells = [
        (
            row.name,
            "ready" if row.available else f"not available{': ' * bool(row.message)}{row.message}",
            "?" if row.free_gpus is None else str(row.free_gpus),
            str(row.gpus),
            row.workspace,
            row.address,
            ", ".join(row.users),
        )
        for row in rows
    ]
    return table(header, cells, right=(2, 3)) if rows else "No nodes."

"""What servers answer, read alike from both generations: June 2025 has other names for some fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from primus.launch.k8s.rows import NodeRow, Pod, WorkloadRow

TERMINAL = ("Succeeded", "Failed", "Stopped")

_STOPPED_STATUS = 143


def workload_row(item: Mapping[str, Any]) -> WorkloadRow:
    pods = item.get("resources") or [item.get("resource") or {}]
    return WorkloadRow(
        id=text(item, "workloadId"),
        name=text(item, "displayName"),
        phase=text(item, "phase"),
        message=text(item, "message"),
        replicas=sum(int(pod.get("replica") or 0) for pod in pods),
        gpus=sum(int(pod.get("replica") or 0) * number(pod.get("gpu")) for pod in pods),
        user=text(item, "userName", "userId"),
        workspace=text(item, "workspaceId", "workspace"),
        created=text(item, "creationTime", "createTime", "createdTime"),
        ended=text(item, "endTime"),
    )


def node_row(item: Mapping[str, Any]) -> NodeRow:
    workspace = item.get("workspace")
    total, free = item.get("totalResources") or {}, item.get("availResources") or {}
    resource = gpu_resource(total)
    return NodeRow(
        name=text(item, "nodeName", "displayName", "nodeId"),
        id=text(item, "nodeId", "displayName"),
        address=text(item, "internalIP", "internalIp"),
        cluster=text(item, "clusterId", "cluster"),
        workspace=text(workspace, "id", "name") if isinstance(workspace, Mapping) else str(workspace or ""),
        available=bool(item.get("available", True)),
        message=text(item, "message"),
        gpus=number(total.get(resource)),
        free_gpus=number(free.get(resource)),
        users=tuple(user_of(each) for each in item.get("workloads") or ()),
    )


def pods_of(workload: Mapping[str, Any]) -> list[Pod]:
    return [
        Pod(
            name=text(item, "podId", "name"),
            phase=text(item, "phase"),
            node=text(item, "adminNodeName", "nodeName", "k8sNodeName"),
            message=text(item, "failedMessage", "message"),
            exit_status=_exit_status(item),
        )
        for item in workload.get("pods") or ()
    ]


def exit_status(workload: Mapping[str, Any]) -> int | None:
    """What `wait` exits with: None while it is not over; a failed training's own status where a pod tells it."""
    phase = text(workload, "phase")
    if phase not in TERMINAL:
        return None
    if phase == "Succeeded":
        return 0
    if phase == "Stopped":
        return _STOPPED_STATUS
    return next((pod.exit_status for pod in pods_of(workload) if pod.exit_status), 1)


def gpu_resource(total: Mapping[str, Any]) -> str:
    """The name under which a node counts its GPUs: amd.com/gpu, nvidia.com/gpu."""
    return next((name for name in total if name.endswith("/gpu")), "gpu")


def text(item: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that says something."""
    return next((str(item[name]) for name in names if item.get(name) not in (None, "")), "")


def number(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError):  # `500m` or words: not a count of GPUs
        return 0


def user_of(workload: Any) -> str:
    return text(workload, "userName", "userId", "id", "workloadId") if isinstance(workload, Mapping) else str(workload)


def _exit_status(pod: Mapping[str, Any]) -> int | None:
    containers: Sequence[Mapping[str, Any]] = pod.get("containers") or ()
    return next((int(each["exitCode"]) for each in containers if each.get("exitCode")), None)

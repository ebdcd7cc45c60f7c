"""The body of `POST /workloads` for every generation of Primus-SaFE: June 2025 reads the singular fields, the newest
one the plural ones, and none refuses a field that it does not know. Pure."""

from __future__ import annotations

from typing import Any

from primus.launch.k8s.entry import encoded_entry
from primus.launch.k8s.workload import Workload

_HOUR = 3600


def create_body(workload: Workload, workspace: str, *, timeout_in_hours: bool = False) -> dict[str, Any]:
    """The request as plain data. `timeout_in_hours` is how servers before 2025-10-23 count."""
    entry, pods = encoded_entry(workload), resources(workload)
    body: dict[str, Any] = {
        "displayName": workload.name,
        "workspace": workspace,
        "workspaceId": workspace,
        "groupVersionKind": {"group": "kubeflow.org", "kind": "PyTorchJob", "version": "v1"},
        "description": description(workload),
        "userName": workload.user,
        "isSupervised": False,
        "entryPoint": entry,
        "entryPoints": [entry] * len(pods),
        "image": workload.image,
        "images": [workload.image] * len(pods),
        "resource": pod_resources(workload, workload.replicas),
        "resources": pods,
        "env": {**workload.environment, **workload.tokens},
        "maxRetry": workload.max_retry,
        "ttlSecondsAfterFinished": workload.ttl,
    }
    if workload.labels:  # those called `customerLabels` are what a node must have
        body["labels"] = dict(workload.labels)
    if workload.nodes:
        body["specifiedNodes"] = list(workload.nodes)
        if len(workload.nodes) == 1:  # all that a server of June 2025 understands
            body["customerLabels"] = {"kubernetes.io/hostname": workload.nodes[0]}
    if workload.priority is not None:
        body["priority"] = workload.priority
    if workload.timeout is not None:
        body["timeout"] = -(-workload.timeout // _HOUR) if timeout_in_hours else workload.timeout
    if workload.secrets:
        body["secrets"] = [{"id": secret} for secret in workload.secrets]
    return body


def description(workload: Workload) -> str:
    """For people, and for finding the workload again by its marker."""
    return f"primus train --exp {workload.exp} ({workload.backend}) {workload.marker}".rstrip()


def resources(workload: Workload) -> list[dict[str, Any]]:
    """A PyTorchJob of several nodes is one master and the workers."""
    first = pod_resources(workload, 1)
    return [first] if workload.replicas == 1 else [first, pod_resources(workload, workload.replicas - 1)]


def pod_resources(workload: Workload, replicas: int) -> dict[str, Any]:
    """What each of `replicas` pods gets. All sizes are strings in this API, the number of pods is not."""
    return {
        "replica": replicas,
        "cpu": str(workload.cpu),
        "gpu": str(workload.gpu),
        "memory": workload.memory,
        "ephemeralStorage": workload.ephemeral_storage,
    }

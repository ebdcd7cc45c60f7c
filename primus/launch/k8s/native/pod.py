"""The pod template of a workload: the same for every kind. Pure."""

from __future__ import annotations

import re
from typing import Any

from primus.launch.k8s.native.options import AMD_GPU, ClusterOptions, Volume
from primus.launch.k8s.workload import Workload

CONTAINER = "pytorch"
"""The name that a PyTorchJob expects."""

RUN_LABEL = "primus.amd.com/run"
USER_LABEL = "primus.amd.com/user"
MANAGED = {"app.kubernetes.io/name": "primus", "app.kubernetes.io/managed-by": "primus"}

PORT = 29500
"""Of the rendezvous. A pod has its network to itself; with the node's, the port is made from the run's name."""

_FOLDER = "/etc/primus"


def labels(workload: Workload, id: str) -> dict[str, str]:
    found = {**workload.labels, **MANAGED, RUN_LABEL: id}
    if user := label_value(workload.user):
        found[USER_LABEL] = user
    return found


def label_value(text: str) -> str:
    """`text` as far as a label can hold it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].strip("-._")


def pod_template(
    workload: Workload,
    options: ClusterOptions,
    *,
    id: str,
    master: str | None,
    restart: str | None = "Never",
) -> dict[str, Any]:
    """A pod of run `id`; `master` is the address of the first one, None where the controller says it."""
    spec: dict[str, Any] = {
        "subdomain": id,
        "containers": [_container(workload, options, id=id, master=master)],
        "volumes": _volumes(workload, options, id),
        "terminationGracePeriodSeconds": 300,  # for a last checkpoint
    }
    if restart is not None:
        spec["restartPolicy"] = restart
    if options.host_network:
        spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    if workload.nodes:
        spec["affinity"] = _pinned(workload.nodes, id)
    if tolerations := _tolerations(workload, options):
        spec["tolerations"] = tolerations
    if options.priority_class:
        spec["priorityClassName"] = options.priority_class
    if options.service_account:
        spec["serviceAccountName"] = options.service_account
    return {"metadata": {"labels": labels(workload, id)}, "spec": spec}


def port_of(id: str, options: ClusterOptions) -> int:
    """Two runs on the network of the same node must not meet."""
    return PORT if not options.host_network else 20000 + sum(id.encode()) * 7919 % 10000


def _container(workload: Workload, options: ClusterOptions, *, id: str, master: str | None) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "cpu": str(workload.cpu),
        "memory": workload.memory,
        "ephemeral-storage": workload.ephemeral_storage,
    }
    if workload.gpu:
        resources[options.gpu_resource or AMD_GPU] = str(workload.gpu)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": workload.image,
        "command": ["/bin/sh", f"{_FOLDER}/run.sh"],
        "env": _environment(workload, options, id=id, master=master),
        "resources": {"limits": resources, "requests": dict(resources)},
        "volumeMounts": _mounts(workload, options),
    }
    if options.rdma:
        name, count = options.rdma
        for amounts in container["resources"].values():
            amounts[name] = str(count)
        container["securityContext"] = {"capabilities": {"add": ["IPC_LOCK"]}}  # RDMA registers, and so locks, memory
    return container


def _environment(workload: Workload, options: ClusterOptions, *, id: str, master: str | None) -> list[dict[str, Any]]:
    values = {
        "NNODES": str(workload.replicas),
        "GPUS_PER_NODE": str(workload.gpu or 1),
        "WORKLOAD_ID": id,
        **workload.environment,
    }
    if master is not None:
        values |= {"MASTER_ADDR": master, "MASTER_PORT": str(port_of(id, options))}
    variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
    return variables + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": id, "key": name}}} for name in workload.tokens
    ]


def _volumes(workload: Workload, options: ClusterOptions, id: str) -> list[dict[str, Any]]:
    shared = {"medium": "Memory"} | ({"sizeLimit": options.shared_memory} if options.shared_memory else {})
    volumes: list[dict[str, Any]] = [
        {"name": "primus", "configMap": {"name": id}},
        {"name": "shm", "emptyDir": shared},
    ]
    volumes += [
        {"name": f"secret-{number}", "secret": {"secretName": name}} for number, name in enumerate(workload.secrets)
    ]
    return volumes + [_volume(number, volume) for number, volume in enumerate(options.volumes)]


def _volume(number: int, volume: Volume) -> dict[str, Any]:
    name = f"volume-{number}"
    if volume.kind == "host":
        return {"name": name, "hostPath": {"path": volume.source}}
    return {"name": name, "persistentVolumeClaim": {"claimName": volume.source, "readOnly": volume.read_only}}


def _mounts(workload: Workload, options: ClusterOptions) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "primus", "mountPath": _FOLDER, "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    mounts += [
        {"name": f"secret-{number}", "mountPath": f"/etc/secrets/{name}", "readOnly": True}
        for number, name in enumerate(workload.secrets)
    ]
    return mounts + [
        {"name": f"volume-{number}", "mountPath": volume.path} | ({"readOnly": True} if volume.read_only else {})
        for number, volume in enumerate(options.volumes)
    ]


def _pinned(nodes: tuple[str, ...], id: str) -> dict[str, Any]:
    """On these nodes, one pod on each."""
    host = "kubernetes.io/hostname"
    term = {"key": host, "operator": "In", "values": list(nodes)}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {RUN_LABEL: id}}, "topologyKey": host}
            ]
        },
    }


def _tolerations(workload: Workload, options: ClusterOptions) -> list[dict[str, Any]]:
    """Nodes with GPUs are often kept free of pods without any by a taint of the resource's name."""
    own = []
    if workload.gpu:
        own = [{"key": options.gpu_resource or AMD_GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return own + [dict(toleration) for toleration in options.tolerations]

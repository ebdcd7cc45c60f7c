"""What the cluster says about pods and nodes, in plain words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from primus.launch.k8s.native.manifests import EXPERIMENT, QUEUE
from primus.launch.k8s.native.options import AMD_GPU
from primus.launch.k8s.native.pod import CONTAINER, RUN_LABEL, USER_LABEL
from primus.launch.k8s.rows import NodeRow, Pod, WorkloadRow

GPU_RESOURCES = (AMD_GPU, "nvidia.com/gpu")

_WAITING = {
    "ErrImagePull": "the image can't be pulled",
    "ImagePullBackOff": "the image can't be pulled",
    "InvalidImageName": "the name of the image is wrong",
    "CreateContainerConfigError": "something that the pod refers to is not there",
    "CreateContainerError": "the container can't be made",
    "CrashLoopBackOff": "it ends again and again",
    "RunContainerError": "the container can't be started",
}

_ENDED = {
    "OOMKilled": "killed, out of memory: its memory limit is too small",
    "Evicted": "evicted by the node, often for its disk or memory",
    "DeadlineExceeded": "ran longer than --timeout allows",
    "ContainerCannotRun": "the container could not run",
}

_QUIET = frozenset({"ContainerCreating", "PodInitializing", "Completed", "Error"})

_STOPPED_STATUS = 143


def pod_of(pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]] = ()) -> Pod:
    about, status = pod["metadata"], pod.get("status", {})
    ended = _state(pod).get("terminated") or {}
    return Pod(
        name=about["name"],
        phase=status.get("phase", "Unknown"),
        node=pod.get("spec", {}).get("nodeName", ""),
        message=why(pod, events),
        exit_status=ended.get("exitCode"),
    )


def why(pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]] = ()) -> str:
    """Why a pod does not run, or how it ended; empty when all is well."""
    status = pod.get("status", {})
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"no node takes it: {condition.get('message', condition.get('reason', ''))}"
    state = _state(pod)
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    if waiting.get("reason") in _WAITING:
        return _said(_WAITING[waiting["reason"]], waiting)
    if ended.get("reason") in _ENDED:
        return _said(_ENDED[ended["reason"]], ended)
    if status.get("reason") in _ENDED:
        return _said(_ENDED[status["reason"]], status)
    if ended.get("exitCode"):
        return _said("the training failed", ended)
    if waiting and waiting.get("reason") not in _QUIET:
        return _said(str(waiting.get("reason")), waiting)
    if status.get("phase") == "Pending":
        return _last_warning(pod, events)
    return ""


def exit_status(workload: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> int | None:
    """None while it is not over; a failed training's own status where a pod tells it."""
    state = phase_of(workload)
    if state == "Succeeded":
        return 0
    if state == "Stopped":
        return _STOPPED_STATUS
    if state != "Failed":
        return None
    found = (pod_of(pod).exit_status for pod in pods)
    return next((status for status in found if status), 1)


def phase_of(workload: Mapping[str, Any]) -> str:
    """In the words of a Primus-SaFE server, for all kinds."""
    status = workload.get("status", {})
    true = {each["type"] for each in status.get("conditions") or () if each.get("status") == "True"}
    if true & {"Complete", "Completed", "Succeeded"}:
        return "Succeeded"
    if "Failed" in true:
        return "Failed"
    if _is_suspended(workload):  # Kueue keeps what waits in a queue like this
        return "Pending" if is_queued(workload) else "Stopped"
    if status.get("active") or "Running" in true or _is_active(status):
        return "Running"
    return "Pending"


def is_queued(workload: Mapping[str, Any]) -> bool:
    """Whether Kueue decides when it runs."""
    return QUEUE in (workload["metadata"].get("labels") or {})


def workload_row(workload: Mapping[str, Any]) -> WorkloadRow:
    about = workload["metadata"]
    replicas, template = _pods_of_spec(workload)
    limits = template["spec"]["containers"][0].get("resources", {}).get("limits", {})
    gpus = next((int(limits[name]) for name in limits if name.endswith("/gpu")), 0)
    failed = [each for each in workload.get("status", {}).get("conditions") or () if each.get("type") == "Failed"]
    return WorkloadRow(
        id=about["name"],
        name=about.get("annotations", {}).get(EXPERIMENT, ""),
        phase=phase_of(workload),
        message=str(failed[0].get("message", "")) if failed else _waiting(workload),
        replicas=replicas,
        gpus=replicas * gpus,
        user=about.get("labels", {}).get(USER_LABEL, ""),
        workspace=about.get("namespace", ""),
        created=about.get("creationTimestamp", ""),
        ended=workload.get("status", {}).get("completionTime", ""),
    )


def node_rows(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]] | None) -> list[NodeRow]:
    """GPUs of each node, and who has them; without the pods (for want of permission) nobody knows what is free."""
    by_node: dict[str, list[Mapping[str, Any]]] = {}
    for pod in pods or ():
        by_node.setdefault(pod.get("spec", {}).get("nodeName", ""), []).append(pod)
    return [_node_row(node, None if pods is None else by_node.get(node["metadata"]["name"], [])) for node in nodes]


def gpu_resource(nodes: Iterable[Mapping[str, Any]]) -> str | None:
    """The name under which the nodes of a cluster offer GPUs; AMD's when there are both."""
    offered = {name for node in nodes for name in node.get("status", {}).get("allocatable") or {}}
    return next((name for name in GPU_RESOURCES if name in offered), None)


def _node_row(node: Mapping[str, Any], pods: list[Mapping[str, Any]] | None) -> NodeRow:
    about, status = node["metadata"], node.get("status", {})
    ready: Mapping[str, Any] = next(
        (each for each in status.get("conditions") or () if each.get("type") == "Ready"), {}
    )
    cordoned = bool(node.get("spec", {}).get("unschedulable"))
    gpus = _gpus(status.get("allocatable") or {})
    used = [(pod, _gpus_of_pod(pod)) for pod in pods or ()]
    return NodeRow(
        name=about["name"],
        id=about["name"],
        address=next((each["address"] for each in status.get("addresses") or () if each["type"] == "InternalIP"), ""),
        available=ready.get("status") == "True" and not cordoned,
        message="cordoned" if cordoned else "" if ready.get("status") == "True" else str(ready.get("message", "")),
        gpus=gpus,
        free_gpus=None if pods is None else gpus - sum(count for _, count in used),
        users=tuple(sorted({_name_of(pod) for pod, count in used if count})),
    )


def _name_of(pod: Mapping[str, Any]) -> str:
    about = pod["metadata"]
    return f"{about.get('namespace', '')}/{about.get('labels', {}).get(RUN_LABEL) or about['name']}"


def _gpus_of_pod(pod: Mapping[str, Any]) -> int:
    containers = pod.get("spec", {}).get("containers") or ()
    return sum(_gpus(each.get("resources", {}).get("limits") or {}) for each in containers)


def _gpus(amounts: Mapping[str, Any]) -> int:
    return sum(int(amounts[name]) for name in GPU_RESOURCES if name in amounts)


def _pods_of_spec(workload: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    """How many pods, and the template of the first."""
    spec = workload["spec"]
    if "pytorchReplicaSpecs" in spec:
        replicas = spec["pytorchReplicaSpecs"]
        return sum(each["replicas"] for each in replicas.values()), replicas["Master"]["template"]
    if "replicatedJobs" in spec:
        spec = spec["replicatedJobs"][0]["template"]["spec"]
    return spec["completions"], spec["template"]


def _is_suspended(workload: Mapping[str, Any]) -> bool:
    spec = workload["spec"]
    return bool(spec.get("suspend") or spec.get("runPolicy", {}).get("suspend"))


def _waiting(workload: Mapping[str, Any]) -> str:
    if phase_of(workload) != "Pending" or not is_queued(workload):
        return ""
    return f"waits in the queue {workload['metadata']['labels'][QUEUE]} of Kueue"


def _is_active(status: Mapping[str, Any]) -> bool:
    """Of a JobSet or PyTorchJob."""
    jobs = [*(status.get("replicatedJobsStatus") or ()), *(status.get("replicaStatuses") or {}).values()]
    return any(each.get("active") or each.get("ready") for each in jobs)


def _state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the training's container."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return next((each.get("state") or {} for each in statuses if each.get("name") == CONTAINER), {})


def _said(words: str, source: Mapping[str, Any]) -> str:
    message = re.sub(r"\s+", " ", str(source.get("message") or "")).strip()
    return f"{words} ({message})" if message else words


def _last_warning(pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> str:
    name = pod["metadata"]["name"]
    about = [each for each in events if each.get("involvedObject", {}).get("name") == name]
    warnings = [each for each in about if each.get("type") == "Warning"]
    return _said(str(warnings[-1].get("reason", "")), warnings[-1]) if warnings else ""

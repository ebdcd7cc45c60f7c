"""A workload as Kubernetes objects: one that runs it, and those that belong to it and go with it. target.py and
cluster.py send them. Pure.

Kinds: an Indexed Job (batch/v1), a JobSet (jobset.x-k8s.io/v1alpha2), a PyTorchJob (kubeflow.org/v1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from primus.launch.k8s.entry import entry_script
from primus.launch.k8s.native.options import ClusterOptions, Kind
from primus.launch.k8s.native.pod import CONTAINER, RUN_LABEL, labels, pod_template, port_of
from primus.launch.k8s.workload import Workload

Manifest = dict[str, Any]

MARKER = "primus.amd.com/request"
EXPERIMENT = "primus.amd.com/experiment"
QUEUE = "kueue.x-k8s.io/queue-name"

HOPELESS = [2, 3, 4]
"""Exit statuses of `primus train` that another try would end with as well: usage, experiment, something missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """Where the API has the objects of a kind."""

    version: str
    kind: str
    plural: str

    @property
    def root(self) -> str:
        return f"/apis/{self.version}" if "/" in self.version else f"/api/{self.version}"


RESOURCES: dict[Kind, Resource] = {
    "job": Resource(version="batch/v1", kind="Job", plural="jobs"),
    "jobset": Resource(version="jobset.x-k8s.io/v1alpha2", kind="JobSet", plural="jobsets"),
    "pytorchjob": Resource(version="kubeflow.org/v1", kind="PyTorchJob", plural="pytorchjobs"),
}


def manifests(workload: Workload, options: ClusterOptions) -> tuple[Manifest, list[Manifest]]:
    """The object that runs it, and those that go with it."""
    id = f"{workload.name}-{workload.suffix}"
    return _main(workload, options, id), _owned(workload, options, id)


def owned_by(manifest: Manifest, owner: Manifest) -> Manifest:
    """With a reference to the owner, whose end is then its own."""
    about = owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": about["name"],
        "uid": about["uid"],
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def _main(workload: Workload, options: ClusterOptions, id: str) -> Manifest:
    resource = RESOURCES[options.kind]
    marks = labels(workload, id)
    if options.queue:
        marks[QUEUE] = options.queue
    return {
        "apiVersion": resource.version,
        "kind": resource.kind,
        "metadata": {
            "name": id,
            "labels": marks,
            "annotations": {EXPERIMENT: workload.exp, MARKER: workload.marker},
        },
        "spec": _SPECS[options.kind](workload, options, id),
    }


def _owned(workload: Workload, options: ClusterOptions, id: str) -> list[Manifest]:
    """What the pods need: the script with the experiment, names for each other, and the secrets."""
    about = {"name": id, "labels": labels(workload, id)}
    made: list[Manifest] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": about,
            "data": {"run.sh": entry_script(workload), "experiment.yaml": workload.experiment},
        },
    ]
    if options.kind == "job":  # the controllers of the others make one, of the same name even
        service = {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # the nodes look for each other before any of them is ready
            "selector": {RUN_LABEL: id},
        }
        made.append({"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": service})
    if workload.tokens:
        secret = {"type": "Opaque", "stringData": dict(workload.tokens)}
        made.append({"apiVersion": "v1", "kind": "Secret", "metadata": about, **secret})
    return made


def _job(workload: Workload, options: ClusterOptions, id: str) -> Manifest:
    # A pod of an Indexed Job is called after its index; the service's name makes an address of it.
    spec = _job_spec(workload, options, id, master=f"{id}-0.{id}")
    spec["backoffLimit"] = workload.max_retry * workload.replicas  # when one node fails, the others fail with it
    spec["ttlSecondsAfterFinished"] = workload.ttl
    if workload.timeout is not None:
        spec["activeDeadlineSeconds"] = workload.timeout
    return spec


def _job_spec(workload: Workload, options: ClusterOptions, id: str, *, master: str) -> Manifest:
    return {
        "completionMode": "Indexed",
        "completions": workload.replicas,
        "parallelism": workload.replicas,
        "podReplacementPolicy": "Failed",  # a new pod only when the old one is gone from its GPUs
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": HOPELESS},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": pod_template(workload, options, id=id, master=master if workload.replicas > 1 else None),
    }


def _jobset(workload: Workload, options: ClusterOptions, id: str) -> Manifest:
    spec = _job_spec(workload, options, id, master=f"{id}-node-0-0.{id}")
    spec["backoffLimit"] = 0  # the set starts all nodes again together
    if workload.timeout is not None:
        spec["activeDeadlineSeconds"] = workload.timeout
    return {
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True, "subdomain": id},
        "failurePolicy": {
            "maxRestarts": workload.max_retry,
            "rules": [{"name": "hopeless", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
        },
        "ttlSecondsAfterFinished": workload.ttl,
        "replicatedJobs": [{"name": "node", "replicas": 1, "template": {"spec": spec}}],
    }


def _pytorchjob(workload: Workload, options: ClusterOptions, id: str) -> Manifest:
    # Its controller sets MASTER_ADDR, MASTER_PORT and the rank, and takes the restart policy outside of the pod.
    template = pod_template(workload, options, id=id, master=None, restart=None)
    template["spec"].pop("subdomain")
    template["spec"]["containers"][0]["ports"] = [
        {"name": "pytorchjob-port", "containerPort": port_of(id, options)},
    ]
    policy: Manifest = {
        "cleanPodPolicy": "Running",
        "ttlSecondsAfterFinished": workload.ttl,
        "backoffLimit": workload.max_retry,
    }
    if workload.timeout is not None:
        policy["activeDeadlineSeconds"] = workload.timeout
    restart = "OnFailure" if workload.max_retry else "Never"
    replicas = {"Master": {"replicas": 1, "restartPolicy": restart, "template": template}}
    if workload.replicas > 1:
        replicas["Worker"] = {"replicas": workload.replicas - 1, "restartPolicy": restart, "template": template}
    return {"runPolicy": policy, "pytorchReplicaSpecs": replicas}


_SPECS: dict[Kind, Callable[[Workload, ClusterOptions, str], Manifest]] = {
    "job": _job,
    "jobset": _jobset,
    "pytorchjob": _pytorchjob,
}

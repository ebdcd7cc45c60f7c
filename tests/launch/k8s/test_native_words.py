"""What a cluster says, in plain words."""

import pytest

from primus.launch.k8s.native.manifests import manifests
from primus.launch.k8s.native.options import ClusterOptions
from primus.launch.k8s.native.words import exit_status, node_rows, phase_of, pod_of, why, workload_row

NAME = {"metadata": {"name": "tiny-0"}}


def pod(**status):
    return {**NAME, "status": status}


def container(**state):
    return {"containerStatuses": [{"name": "pytorch", "state": state}]}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/5 nodes are available: 5 Insufficient amd.com/gpu."}]},
            "no node takes it: 0/5 nodes are available: 5 Insufficient amd.com/gpu.",
        ),
        (container(waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}),
         'the image can\'t be pulled (Back-off pulling image "x")'),
        (container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "hf" not found'}),
         'something that the pod refers to is not there (secret "hf" not found)'),
        (container(waiting={"reason": "ContainerCreating"}), ""),
        (container(terminated={"reason": "OOMKilled", "exitCode": 137}),
         "killed, out of memory: its memory limit is too small"),
        (container(terminated={"reason": "Error", "exitCode": 7}), "the training failed"),
        (container(terminated={"reason": "Completed", "exitCode": 0}), ""),
        ({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
         "evicted by the node, often for its disk or memory (The node was low on resource: ephemeral-storage.)"),
        ({"phase": "Running"}, ""),
    ],
)  # fmt: skip
def test_why_a_pod_does_not_run(status, words):
    assert why(pod(**status)) == words


def test_the_last_warning_about_a_pod_that_is_stuck_is_told():
    events = [
        {"type": "Warning", "reason": "FailedMount", "message": "no claim", "involvedObject": {"name": "tiny-0"}},
        {"type": "Warning", "reason": "Other", "message": "x", "involvedObject": {"name": "another"}},
        {"type": "Normal", "reason": "Pulling", "message": "y", "involvedObject": {"name": "tiny-0"}},
    ]

    assert why(pod(phase="Pending"), events) == "FailedMount (no claim)"


@pytest.mark.parametrize(
    ("status", "spec", "phase"),
    [
        ({}, {}, "Pending"),
        ({"active": 2}, {}, "Running"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, {}, "Succeeded"),
        ({"conditions": [{"type": "Completed", "status": "True"}]}, {}, "Succeeded"),
        (
            {"conditions": [{"type": "Succeeded", "status": "True"}, {"type": "Running", "status": "False"}]},
            {},
            "Succeeded",
        ),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, {}, "Failed"),
        ({"replicatedJobsStatus": [{"active": 1}]}, {}, "Running"),
        ({"replicaStatuses": {"Master": {"active": 1}}}, {}, "Running"),
        ({}, {"suspend": True}, "Stopped"),
        ({}, {"runPolicy": {"suspend": True}}, "Stopped"),
    ],
)
def test_every_kind_has_the_same_phases(status, spec, phase):
    assert phase_of({"status": status, "spec": spec, "metadata": {}}) == phase


def test_what_kueue_holds_back_waits_and_is_not_stopped(workload):
    main, _ = manifests(workload(), ClusterOptions(queue="gpus"))
    main["spec"]["suspend"] = True

    row = workload_row(main)

    assert (row.phase, row.message) == ("Pending", "waits in the queue gpus of Kueue")
    assert exit_status(main, []) is None


def test_a_failed_run_has_the_exit_status_of_its_training():
    failed = {"spec": {}, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}

    assert (
        exit_status(
            failed, [pod(**container(terminated={"exitCode": 0})), pod(**container(terminated={"exitCode": 9}))]
        )
        == 9
    )
    assert exit_status(failed, []) == 1
    assert exit_status({"spec": {"suspend": True}, "metadata": {}}, []) == 143
    assert exit_status({"spec": {}, "status": {"active": 1}}, []) is None


def test_a_pod_tells_its_node_and_status():
    seen = pod_of({**pod(phase="Failed", **container(terminated={"exitCode": 3})), "spec": {"nodeName": "node-1"}})

    assert (seen.name, seen.phase, seen.node, seen.exit_status) == ("tiny-0", "Failed", "node-1", 3)


def node(name, **fields):
    ready = {"type": "Ready", "status": "True"}
    return {
        "metadata": {"name": name},
        "spec": {},
        "status": {"allocatable": {"amd.com/gpu": "8"}, "conditions": [ready]},
        **fields,
    }


def test_free_gpus_are_what_the_pods_leave_and_their_users_are_named():
    user = {
        "metadata": {"name": "p", "namespace": "team", "labels": {"primus.amd.com/run": "tiny-1"}},
        "spec": {"nodeName": "a", "containers": [{"resources": {"limits": {"amd.com/gpu": "6"}}}]},
    }

    first, second = node_rows([node("a"), node("b")], [user])

    assert (first.gpus, first.free_gpus, first.users) == (8, 2, ("team/tiny-1",))
    assert (second.free_gpus, second.users) == (8, ())


def test_without_the_pods_what_is_free_is_not_known():
    assert node_rows([node("a")], None)[0].free_gpus is None


def test_a_cordoned_node_is_not_available():
    assert node_rows([node("a", spec={"unschedulable": True})], [])[0].message == "cordoned"

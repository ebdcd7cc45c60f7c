"""Workloads as Kubernetes objects: compared with golden files, and accepted by the official schemas.
PRIMUS_WRITE_GOLDEN=1 writes the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from kube_server import violation

from primus.errors import UsageError
from primus.launch.k8s.native.manifests import manifests
from primus.launch.k8s.native.options import (
    ClusterOptions,
    Volume,
    parse_resource,
    parse_toleration,
    parse_volume,
    require_distinct_paths,
    require_labels,
)
from primus.launch.k8s.native.pod import USER_LABEL

GOLDEN = Path(__file__).parent / "golden"

RICH = ClusterOptions(
    queue="gpus",
    gpu_resource="nvidia.com/gpu",
    rdma=("rdma/hca", 8),
    host_network=True,
    shared_memory="64Gi",
    volumes=(parse_volume("pvc:data:/data:ro"), parse_volume("host:/shared")),
    tolerations=(parse_toleration("team=llm:NoSchedule"),),
    priority_class="high",
    service_account="trainer",
)


def rich(workload, **fields):
    environment = {"EXP": "tiny.yaml", "ODD": "a 'b' $(date)\n"}
    given = {"replicas": 2, "nodes": ("node-1", "node-2"), "secrets": ("hf",), "labels": {"team": "llm"}}
    given |= {"environment": environment, "tokens": {"HF_TOKEN": "hf_x"}, "timeout": 5400}
    return workload(**(given | fields))


@pytest.mark.parametrize("kind", ["job", "jobset", "pytorchjob"])
@pytest.mark.parametrize("size", ["plain", "rich"])
def test_the_manifests_are_the_golden_ones(kind, size, workload):
    options = ClusterOptions(kind=kind) if size == "plain" else ClusterOptions(**(fields(RICH) | {"kind": kind}))
    main, owned = manifests(workload() if size == "plain" else rich(workload), options)
    config = next(each for each in owned if each["kind"] == "ConfigMap")
    config["data"]["run.sh"] = "..."  # it has tests of its own
    text = yaml.safe_dump_all([main, *owned], sort_keys=False)
    path = GOLDEN / f"{kind}_{size}.yaml"
    if os.environ.get("PRIMUS_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("kind", ["job", "jobset", "pytorchjob"])
def test_the_official_schemas_accept_every_object(kind, workload):
    main, owned = manifests(rich(workload), ClusterOptions(**(fields(RICH) | {"kind": kind})))

    made = {"ConfigMap", "Service", "Secret"} if kind == "job" else {"ConfigMap", "Secret"}
    assert {each["kind"] for each in owned} == made
    for manifest in (main, *owned):
        assert violation(manifest["kind"], manifest) is None


def test_a_schema_check_sees_a_field_that_is_no_field(workload):
    main, _ = manifests(workload(), ClusterOptions(kind="jobset"))
    main["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"

    assert "imagee" in (violation("JobSet", main) or "")


@pytest.mark.parametrize(
    ("key", "value"), [("team", "a b"), ("team", "-a"), ("team", "x" * 64), ("a b", ""), ("Ü/a", "b")]
)
def test_a_label_that_no_cluster_takes_is_refused(key, value):
    with pytest.raises(UsageError, match="--label"):
        require_labels({key: value})


def test_labels_that_a_cluster_takes():
    require_labels({"example.com/team": "llm", "a": "", "A_b.c": "1.0"})


def test_whoever_asks_is_in_a_label_as_far_as_it_can_hold_the_name(workload):
    assert manifests(workload(user="Ann Ü@x"), ClusterOptions())[0]["metadata"]["labels"][USER_LABEL] == "Ann-x"
    assert USER_LABEL not in manifests(workload(user="Ü"), ClusterOptions())[0]["metadata"]["labels"]


def test_the_token_is_in_a_secret_and_nowhere_else(workload):
    main, owned = manifests(workload(tokens={"HF_TOKEN": "hf_secret"}), ClusterOptions())

    holders = [each["kind"] for each in (main, *owned) if "hf_secret" in str(each)]
    assert holders == ["Secret"]


def test_without_a_token_there_is_no_secret(workload):
    assert {each["kind"] for each in manifests(workload(), ClusterOptions())[1]} == {"ConfigMap", "Service"}


def test_pinned_pods_are_on_all_nodes_that_were_named_and_never_two_on_one(workload):
    main, _ = manifests(workload(replicas=2, nodes=("a", "b")), ClusterOptions())

    affinity = main["spec"]["template"]["spec"]["affinity"]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    term = affinity["nodeAffinity"][required]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert term == {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a", "b"]}
    assert affinity["podAntiAffinity"][required][0]["topologyKey"] == "kubernetes.io/hostname"


def test_a_failure_that_another_try_would_end_with_as_well_is_not_tried_again(workload):
    main, _ = manifests(workload(max_retry=5, replicas=4), ClusterOptions())

    assert main["spec"]["backoffLimit"] == 20  # each failure of a run is one of all its pods
    assert main["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2, 3, 4]


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("pvc:data:/data", Volume(kind="pvc", source="data", path="/data")),
        ("pvc:data:/data:ro", Volume(kind="pvc", source="data", path="/data", read_only=True)),
        ("host:/a", Volume(kind="host", source="/a", path="/a")),
        ("host:/a:/b:ro", Volume(kind="host", source="/a", path="/b", read_only=True)),
        ("host:/a:ro", Volume(kind="host", source="/a", path="/a", read_only=True)),
    ],
)
def test_volumes_are_read(text, volume):
    assert parse_volume(text) == volume


@pytest.mark.parametrize(
    "text", ["", "data:/data", "pvc:data", "pvc::/data", "host:a:/b", "pvc:data:rel", "nfs:x:/y", "host:"]
)
def test_other_volumes_are_refused(text):
    with pytest.raises(UsageError, match="--volume"):
        parse_volume(text)


def test_two_volumes_at_one_path_are_refused():
    with pytest.raises(UsageError, match="/data"):
        require_distinct_paths([parse_volume("pvc:a:/data"), parse_volume("pvc:b:/data")])


def test_tolerations_are_read_as_kubectl_writes_taints():
    assert parse_toleration("gpu") == {"key": "gpu", "operator": "Exists"}
    assert parse_toleration("a=b:NoExecute") == {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}
    with pytest.raises(UsageError, match="NoSchedule"):
        parse_toleration("a=b:Never")


def test_resources_are_read():
    assert parse_resource("--rdma", "rdma/hca_shared_devices_a=8") == ("rdma/hca_shared_devices_a", 8)
    assert parse_resource("--rdma", "rdma/hca") == ("rdma/hca", 1)
    with pytest.raises(UsageError, match="--rdma"):
        parse_resource("--rdma", "rdma/hca=many")


def fields(options):
    return {name: getattr(options, name) for name in ClusterOptions.__slots__}

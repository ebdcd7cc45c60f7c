"""`primus k8s --kubeconfig`, against an API server over real HTTP."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from kube_server import KubeServer, serving_cluster
from safe_server import Fault

pytestmark = pytest.mark.real

TINY = Path(__file__).parents[3] / "configs/experiments/megatron/tiny_llama.yaml"
CREATE = ("create", "--exp", str(TINY), "--gpu", "0")


@pytest.fixture
def cluster():
    with serving_cluster(KubeServer()) as state:
        yield state


@pytest.fixture
def primus(cluster, call, tmp_path):
    config = cluster.write_kubeconfig(tmp_path / "config")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return call("--kubeconfig", str(config), *arguments, **environment)

    return run


def kinds(cluster):
    return sorted(kind for kind, _, _ in cluster.objects if kind != "Node")


@pytest.mark.parametrize("kind", ["Job", "JobSet", "PyTorchJob"])
def test_a_run_of_every_kind_comes_and_goes_with_all_that_it_owns(kind, cluster, primus):
    made = primus(*CREATE, "--kind", kind.lower(), "-o", "id", HF_TOKEN="hf_secret")
    assert made.returncode == 0, made.stderr
    id = made.stdout.strip()

    assert kinds(cluster) == sorted(["ConfigMap", kind, "Secret", "Service"])  # the service may be its controller's
    assert primus("list", "-o", "id").stdout.split() == [id]
    shown = json.loads(primus("get", "--workload-id", id).stdout)
    assert shown["workload"]["kind"] == kind
    assert primus("stop", "--workload-id", id).returncode == 0
    assert primus("wait", "--workload-id", id).returncode == 143
    assert primus("delete", "--workload-id", id).returncode == 0
    assert kinds(cluster) == []
    assert all(
        query["fieldValidation"] == "Strict"
        for what, query, _ in cluster.requests
        if what.startswith(("POST", "PATCH"))
    )


def test_a_dry_run_prints_manifests_that_the_server_takes(cluster, primus):
    shown = primus(*CREATE, "--dry-run", HF_TOKEN="hf_secret")
    asked = primus(*CREATE, "--dry-run=server", "-o", "table")

    assert [each["kind"] for each in yaml.safe_load_all(shown.stdout)] == ["Job", "ConfigMap", "Service", "Secret"]
    assert "hf_secret" not in shown.stdout
    assert "would accept tiny-llama-" in asked.stdout, asked.stderr
    assert kinds(cluster) == []


def test_the_clusters_own_name_for_gpus_is_taken(cluster, primus):
    for number in range(2):
        cluster.add_node(f"node-{number}", "nvidia.com/gpu")

    assert primus("create", "--exp", "llama2_7B", "-o", "id").returncode == 0

    job = next(found for (kind, _, _), found in cluster.objects.items() if kind == "Job")
    limits = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "8"


def test_an_answer_that_is_lost_does_not_create_twice(cluster, primus):
    cluster.faults.append(Fault("POST .*/jobs", close=True, after=True))
    cluster.faults.append(Fault("POST .*/configmaps", status=504, after=True))

    made = primus(*CREATE, "-o", "id")

    assert made.returncode == 0, made.stderr
    assert kinds(cluster) == ["ConfigMap", "Job", "Service"]


def test_when_a_part_is_refused_nothing_stays(cluster, primus):
    cluster.faults.append(
        Fault("POST .*/services", status=403, body=b'{"reason": "Forbidden", "message": "no services"}')
    )

    made = primus(*CREATE)

    assert made.returncode == 5
    assert "Forbidden: no services" in made.stderr
    assert kinds(cluster) == []


def test_a_cluster_without_the_kind_says_so(call, tmp_path):
    with serving_cluster(KubeServer(kinds=())) as state:
        config = ("--kubeconfig", str(state.write_kubeconfig(tmp_path / "config")))
        made = call(*config, *CREATE, "--kind", "jobset")
        listed = call(*config, "list", "-o", "id")

    assert made.returncode == 5
    assert "jobsets" in made.stderr
    assert (listed.returncode, listed.stdout) == (0, "")


def test_what_primus_did_not_make_is_left_alone(cluster, primus):
    cluster.objects["Job", "default", "mine"] = {"metadata": {"name": "mine", "namespace": "default"}, "spec": {}}

    done = primus("delete", "--workload-id", "mine")

    assert done.returncode == 5
    assert "was not made by Primus" in done.stderr
    assert kinds(cluster) == ["Job"]


def test_nodes_show_who_has_the_gpus(cluster, primus):
    limits = {"containers": [{"resources": {"limits": {"amd.com/gpu": "8"}}}], "nodeName": "node-1"}
    cluster.add_pod("p", namespace="team", spec=limits, status={"phase": "Running"})

    lines = primus("nodes", "-o", "table").stdout.splitlines()

    assert lines[1].split() == ["node-0", "ready", "8", "8", "10.0.0.1"]
    assert lines[2].split() == ["node-1", "ready", "0", "8", "10.0.0.1", "team/p"]


def test_without_permission_to_see_all_pods_the_nodes_are_still_shown(cluster, primus):
    cluster.forbidden.append("/api/v1/pods")

    assert primus("nodes", "-o", "table").stdout.splitlines()[1].split()[2] == "?"


def test_a_pod_that_can_not_start_says_why(cluster, primus):
    id = primus(*CREATE, "-o", "id").stdout.strip()
    waiting = {"reason": "ErrImagePull", "message": "not found: registry/x"}
    status = {"phase": "Pending", "containerStatuses": [{"name": "pytorch", "state": {"waiting": waiting}}]}
    cluster.add_pod(f"{id}-0", metadata={"labels": {"primus.amd.com/run": id}}, status=status)

    shown = primus("get", "--workload-id", id, "-o", "table").stdout

    assert "the image can't be pulled (not found: registry/x)" in shown


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("get", "--workload-id", "never"), 5, "there is no run never in namespace default"),
        (("workspaces",), 2, "Primus-SaFE servers only"),
        ((*CREATE, "--priority", "1"), 2, "--priority-class"),
        ((*CREATE, "--volume", "x"), 2, "--volume"),
        ((*CREATE, "--on-server"), 2, "--dry-run"),
        ((*CREATE, "--memory", "lots"), 2, "--memory"),
        ((*CREATE, "--nodelist", "node-7"), 2, "there is no node node-7. Did you mean node-"),
        ((*CREATE, "--label", "team=a b"), 2, "--label team='a b'"),
        ((*CREATE, "--workspace", "a/../b"), 2, "--namespace 'a/../b'"),
        (("--namespace", "x", *CREATE, "--workspace", "y"), 2, "give one"),
        (("--namespace", "../x", "list"), 2, "--namespace '../x'"),
    ],
)
def test_bad_input_gets_a_clear_error(arguments, status, message, primus):
    done = primus(*arguments)

    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_secrets_go_into_a_secret_that_the_run_owns(cluster, primus, tmp_path):
    text = TINY.read_text().replace("overrides:", "overrides:\n      wandb_project: ${WANDB_API_KEY}", 1)
    (tmp_path / "mine.yaml").write_text(text)
    key = "0123456789abcdef" * 2

    done = primus("create", "--exp", "mine.yaml", "--gpu", "0", "--env", "MY_TOKEN=hush", WANDB_API_KEY=key)

    assert done.returncode == 0, done.stderr
    (secret,) = [found for (kind, _, _), found in cluster.objects.items() if kind == "Secret"]
    assert set(secret["data"]) == {"MY_TOKEN", "WANDB_API_KEY"}
    for (kind, _, _), found in cluster.objects.items():
        assert kind == "Secret" or not {key, "hush"} & set(str(found).split("'"))
    assert key not in done.stdout


def test_a_run_in_a_queue_waits_and_can_be_deleted_but_not_stopped(cluster, primus):
    id = primus(*CREATE, "--queue", "gpus", "-o", "id").stdout.strip()
    cluster.objects["Job", "default", id]["spec"]["suspend"] = True  # as Kueue does

    listed = primus("list", "-o", "table").stdout
    waited = primus("wait", "--workload-id", id, "--timeout", "0.1", "--interval", "0.2")
    stopped = primus("stop", "--workload-id", id)

    assert "Pending" in listed
    assert waited.returncode == 124
    assert "waits in the queue gpus" in waited.stderr
    assert stopped.returncode == 2
    assert "primus k8s delete" in stopped.stderr
    assert primus("delete", "--workload-id", id).returncode == 0


def test_the_log_of_a_pod_that_has_not_started_does_not_hide_the_others(cluster, primus):
    id = primus(*CREATE, "-o", "id").stdout.strip()
    cluster.add_pod(f"{id}-0", metadata={"labels": {"primus.amd.com/run": id}}, status={"phase": "Pending"})

    done = primus("logs", "--workload-id", id)

    assert done.returncode == 0
    assert "has no log yet" in done.stderr
    assert "ContainerCreating" in done.stderr


def test_an_account_that_the_cluster_does_not_know(cluster, primus):
    cluster.token = "another"

    done = primus("list")

    assert done.returncode == 5
    assert "does not know who you are" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--kubeconfig", "nowhere"), "no way to the cluster"),
        (("--context", "other"), "no way to the cluster"),
        (("--in-cluster",), "this is no pod"),
    ],
)
def test_a_configuration_that_is_not_there(options, message, call):
    done = call(*options, "list")

    assert done.returncode == 4, done.stderr
    assert message in done.stderr


def test_a_server_and_a_cluster_together_are_refused(call):
    done = call("--url", "http://x", "--context", "y", "list")

    assert done.returncode == 2
    assert "--url names a Primus-SaFE server" in done.stderr


def test_no_key_of_the_configuration_is_left_behind(primus, tmp_path):
    primus("list")

    assert not list(tmp_path.glob("primus-k8s-*"))

"""`primus k8s`, as the guide uses it, against a server over real HTTP."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from safe_server import NEW, OLD, Fault, SafeServer, serving

pytestmark = pytest.mark.real

TINY = Path(__file__).parents[3] / "configs/experiments/megatron/tiny_llama.yaml"
TOKEN = "hf_" + "a1B2c3D4" * 4


@pytest.fixture(params=[OLD, NEW])
def server(request):
    with serving(SafeServer(request.param, workspaces=("team-dev",))) as state:
        yield state


@pytest.fixture
def newest():
    with serving(SafeServer(NEW)) as state:
        yield state


@pytest.fixture
def primus(call):
    """Calls `primus k8s` with the key that servers know."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return call(*arguments, stdin=stdin, **{"PRIMUS_SAFE_API_KEY": "ak-right", **environment})

    return run


def small(*arguments: str) -> tuple[str, ...]:
    return ("create", "--exp", str(TINY), "--gpu", "0", *arguments)


def experiment_of(server: SafeServer, id: str) -> str:
    """What the pods of a workload train."""
    packed = re.search("primus_experiment=(.*)", server.workloads[id]["_entry"])
    assert packed
    return gzip.decompress(base64.b64decode(packed[1])).decode()


def test_the_commands_of_the_guide_work_on_every_generation(server, primus):
    url = ("--url", server.url)
    made = primus(*url, "create", "--replica", "2", "--cpu", "96", "--gpu", "4", "--exp", "llama2_7B", "--data_path",
                  "/mnt/data/train", "--image", "docker.io/custom/image:latest", "--hf_token", TOKEN, "--workspace",
                  "team-dev", HF_TOKEN="")  # fmt: skip
    assert made.returncode == 0, made.stderr
    id = json.loads(made.stdout)["workloadId"]

    shown = primus(*url, "get", "--workload-id", id)
    listed = primus(*url, "list")
    nodes = primus(*url, "nodes")
    deleted = primus(*url, "delete", "--workload-id", id)

    assert json.loads(shown.stdout)["env"]["DATA_PATH"] == "/mnt/data/train"
    assert [each["workloadId"] for each in json.loads(listed.stdout)["items"]] == [id]
    assert len(json.loads(nodes.stdout)["items"]) == 4
    assert [each.returncode for each in (shown, listed, nodes, deleted)] == [0, 0, 0, 0]
    assert primus(*url, "get", "--workload-id", id).returncode == 5
    request = server.requests[0][2]
    assert request["env"]["HF_TOKEN"] == TOKEN
    assert (request["image"], request["resource"]["replica"], request["resource"]["gpu"]) == (
        "docker.io/custom/image:latest", 2, "4",
    )  # fmt: skip
    for done in (made, shown, listed):
        assert TOKEN not in done.stdout + done.stderr


def test_the_defaults_are_those_of_the_guide(newest, primus):
    assert primus("--url", newest.url, "create", "--exp", "llama2_7B", "-o", "id").returncode == 0

    body = newest.requests[0][2]
    assert (body["workspaceId"], body["image"]) == ("primus-safe-pretrain", "docker.io/rocm/megatron-lm:v25.5_py310")
    assert body["resources"] == [
        {"replica": 1, "cpu": "96", "gpu": "8", "memory": "1024Gi", "ephemeralStorage": "100Gi"}
    ]
    assert (body["maxRetry"], body["ttlSecondsAfterFinished"]) == (1, 36000)


def test_a_secret_of_the_server_takes_the_place_of_a_plain_token(newest, primus):
    done = primus("--url", newest.url, *small("--secret", "hf"), HF_TOKEN=TOKEN)

    body = newest.requests[0][2]
    assert body["secrets"] == [{"id": "hf"}]
    assert TOKEN not in json.dumps(body)
    assert "Warning" not in done.stderr.replace("Warning: " + str(TINY), "")


def test_a_secret_that_the_experiment_refers_to_is_not_in_the_request(newest, primus, tmp_path):
    text = TINY.read_text().replace("overrides:", "overrides:\n      wandb_project: ${WANDB_API_KEY}", 1)
    (tmp_path / "mine.yaml").write_text(text)
    key = "0123456789abcdef" * 2
    create = ("--url", newest.url, "create", "--exp", "mine.yaml", "--gpu", "0", "-o", "id")

    plain = primus(*create, WANDB_API_KEY=key)
    kept = primus(*create, "--secret", "wandb", WANDB_API_KEY=key)

    assert (plain.returncode, kept.returncode) == (0, 0), plain.stderr + kept.stderr
    assert "Warning: WANDB_API_KEY: sent as a plain variable" in plain.stderr
    bodies = [body for what, _, body in newest.requests if what == "POST /workloads"]
    assert bodies[0]["env"]["WANDB_API_KEY"] == key
    assert "${WANDB_API_KEY}" in experiment_of(newest, "mine-00001")
    assert key not in experiment_of(newest, "mine-00001")
    assert key not in json.dumps(bodies[1])


def test_a_data_path_is_also_what_the_experiment_sees(newest, primus, tmp_path):
    text = TINY.read_text().replace("overrides:", "overrides:\n      wandb_project: ${DATA_PATH}", 1)
    (tmp_path / "mine.yaml").write_text(text)

    done = primus("--url", newest.url, "create", "--exp", "mine.yaml", "--gpu", "0", "--data-path", "/mnt/there")

    assert done.returncode == 0, done.stderr
    assert "/mnt/there" in experiment_of(newest, "mine-00001")


def test_a_token_that_is_given_in_so_many_words_is_sent_beside_secrets(newest, primus):
    primus("--url", newest.url, *small("--secret", "wandb", "--hf-token", TOKEN))

    assert newest.requests[0][2]["env"]["HF_TOKEN"] == TOKEN


def test_lists_are_filtered_and_sorted_on_every_generation(server, primus):
    for name in ("b", "a"):
        assert primus("--url", server.url, *small("--name", name)).returncode == 0
    list_ids = ("--url", server.url, "list", "-o", "id")

    assert primus(*list_ids, "--sort-by", "name").stdout.split() == ["a-00002", "b-00001"]
    assert primus(*list_ids, "--sort-by", "name", "--order", "desc").stdout.split() == ["b-00001", "a-00002"]
    assert primus(*list_ids, "--phase", "Running").stdout == ""
    assert primus(*list_ids, "--workspace", "team-dev").stdout == ""
    assert primus(*list_ids, "--user", "nobody").stdout == ""
    assert len(primus(*list_ids, "--since", "2026-01-01T00:00:00+01:00").stdout.split()) == 2
    assert primus(*list_ids, "--until", "2026-01-01").stdout == ""


@pytest.mark.parametrize("answer", [b"<html>Log in", b'{"hello": "world"}', b"", b"[1]"])
@pytest.mark.parametrize(
    "command", [("list",), ("nodes",), ("workspaces",), ("get", "--workload-id", "x"), ("create", "--exp", "llama2_7B")]
)
def test_a_server_that_is_something_else_is_said(answer, command, newest, primus):
    newest.faults.append(Fault(".*", status=200, body=answer))

    done = primus("--url", newest.url, *command)

    assert done.returncode == 5, done.stdout
    assert "this is no Primus-SaFE server" in done.stderr


def test_ten_thousand_workloads_are_listed_once_each(newest, primus):
    for number in range(10_000):
        id = f"w-{number:05}"
        newest.workloads[id] = {"workloadId": id, "phase": "Running", "description": "", "userName": "ann",
                                "creationTime": "2026-01-01T00:00:00", "workspaceId": "w"}  # fmt: skip

    listed = primus("--url", newest.url, "list", "-o", "id").stdout.split()

    assert len(listed) == len(set(listed)) == 10_000


@pytest.mark.parametrize("key", ["two words", "ak-é"])
def test_a_key_that_is_none_is_said_and_not_shown(key, newest, primus):
    done = primus("--url", newest.url, "list", PRIMUS_SAFE_API_KEY=key)

    assert done.returncode == 4
    assert "PRIMUS_SAFE_API_KEY: expected one line" in done.stderr
    assert key not in done.stderr


def test_a_dry_run_shows_the_request_without_the_token_and_asks_nobody(newest, primus):
    done = primus("--url", newest.url, *small("--dry-run"), HF_TOKEN=TOKEN)

    assert json.loads(done.stdout)["env"]["HF_TOKEN"] == "[redacted]"
    assert not newest.requests


def test_only_the_id_is_printed_on_request(newest, primus):
    assert primus("--url", newest.url, *small("-o", "id")).stdout == "tiny-llama-00001\n"
    assert primus("--url", newest.url, "list", "-o", "id").stdout == "tiny-llama-00001\n"


def test_tables_are_for_people(newest, primus):
    primus("--url", newest.url, *small())

    listed = primus("--url", newest.url, "list", "-o", "table").stdout.splitlines()
    nodes = primus("--url", newest.url, "nodes", "-o", "table").stdout.splitlines()

    assert listed[0].split() == ["id", "phase", "nodes", "gpus", "user", "workspace", "created"]
    assert listed[1].split()[:4] == ["tiny-llama-00001", "Pending", "1", "0"]
    assert nodes[1].split() == ["node-0", "ready", "8", "8", "w1", "10.0.0.1"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("create",), 2, "--exp"),
        (("create", "--exp", "nowhere.yaml"), 4, "nowhere.yaml"),
        (("create", "--exp", "llama2_7B", "--replica", "0"), 2, "--replica"),
        (("create", "--exp", "llama2_7B", "--replica"), 2, "requires an argument"),
        (("create", "--exp", "llama2_7B", "--backend", "torchtatin"), 2, "Did you mean torchtitan"),
        (("create", "--exp", "llama2_7B", "--set", "lrr=1"), 3, "Did you mean lr"),
        (("create", "--exp", "llama2_7B", "--replica", "4", "--nodelist", "node-1,node-2"), 2, "must be equal"),
        (("create", "--exp", "llama2_7B", "--nodelist", "node-9"), 2, "there is no node node-9"),
        (("create", "--exp", "llama2_7B", "--nodelist", "../x"), 2, "--nodelist '../x'"),
        (("create", "--exp", "llama2_7B", "--secret", "a/../b"), 2, "--secret 'a/../b'"),
        (("create", "--exp", "llama2_7B", "--workspace", "..", "--dry-run"), 2, "--workspace '..'"),
        (("create", "--exp", "../../nowhere/Ü.yaml"), 4, "Ü.yaml"),
        (("create", "--exp", "llama2_7B", "--memory", "größe"), 2, "--memory 'größe'"),
        (("create", "--exp", "llama2_7B", "--", "--no-such-option"), 2, "No such option: --no-such-option"),
        (("create", "--exp", "llama2_7B", "--", "--grace", "long"), 2, "--grace"),
        (("create", "--exp", "llama2_7B", "--", "--nnodes", "2"), 2, "--nnodes is for `primus k8s create`"),
        (("create", "--exp", "llama2_7B", "--", "loose"), 2, "takes options only"),
        (("list", "--since", "yesterday"), 2, "--since 'yesterday'"),
        (("list", "--phase", "Broken"), 2, "--phase Broken"),
        (("list", "--sort-by", "nothing"), 2, "--sort-by"),
        (("logs", "--workload-id", "é"), 2, "--workload-id 'é'"),
        (("create", "--exp", "llama2_7B", "--workspace", "nowhere"), 5, "primus k8s workspaces"),
        (("create", "--exp", "llama2_7B", "--image", ""), 2, "--image"),
        (("create", "--exp", "llama2_7B", "--name", "Übel; rm"), 2, "bel-rm would do"),
        (("create", "--exp", "llama2_7B", "--env", "NOT_SET_HERE"), 2, "NOT_SET_HERE=VALUE"),
        (("create", "--exp", "llama2_7B", "--label", "team"), 2, "expected KEY=VALUE"),
        (("create", "--exp", "llama2_7B", "--kind", "job"), 2, "for a cluster only"),
        (("create", "--exp", "llama2_7B", "--dry-run=server"), 2, "--on-server: for a cluster only"),
        (("get", "--workload-id", "a/../../nodes"), 2, "--workload-id"),
        (("get", "--workload-id", "never-1"), 5, "Primus.01001"),
        (("stop", "--workload-id", "never-1"), 5, "there is no such workload"),
        (("delete", "--workload-id", "never-1"), 5, "there is no such workload"),
        (("logs", "--workload-id", "never-1"), 5, "there is no such workload"),
    ],
)
def test_bad_input_gets_a_clear_error(arguments, status, message, newest, primus):
    done = primus("--url", newest.url, *arguments)

    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_server_it_asks_for_one(primus):
    done = primus("list")

    assert done.returncode == 2
    assert "--url" in done.stderr


@pytest.mark.parametrize("url", ["api.example.com", "ftp://x", "http://", "http://user:pass@host", "http://a b"])
def test_an_address_that_is_none_is_said(url, primus):
    done = primus("--url", url, "list")

    assert done.returncode == 2
    assert "--url" in done.stderr
    assert "user:pass" not in done.stderr


def test_quotes_newlines_and_shell_arrive_as_they_are(newest, primus):
    odd = "a 'b' \"c\" $(touch /tmp/never) `x`\n..é"

    done = primus("--url", newest.url, *small("--env", f"ODD={odd}", "--label", f"x={odd}", "--", "--ranks", odd))

    assert done.returncode == 0, done.stderr
    body = newest.requests[0][2]
    assert (body["env"]["ODD"], body["labels"]["x"]) == (odd, odd)
    script = newest.workloads["tiny-llama-00001"]["_entry"]
    before = script.partition("# Runs in every pod")[0]
    shown = subprocess.run(["/bin/sh", "-c", before + 'printf %s "$2"'], capture_output=True, check=True)
    assert shown.stdout.decode() == odd


def test_a_login_keeps_a_token_for_this_user_only(newest, primus, tmp_path):
    logged_in = primus("--url", newest.url, "login", "--user", "ann", stdin="secret\n", PRIMUS_SAFE_API_KEY="")
    listed = primus("--url", newest.url, "list", PRIMUS_SAFE_API_KEY="")

    assert (logged_in.returncode, listed.returncode) == (0, 0), logged_in.stderr + listed.stderr
    assert stat.S_IMODE((tmp_path / ".config/primus/logins.json").stat().st_mode) == 0o600
    assert "secret" not in logged_in.stdout + logged_in.stderr


def test_a_wrong_password_is_said(newest, primus):
    done = primus("--url", newest.url, "login", "--user", "ann", stdin="wrong\n", PRIMUS_SAFE_API_KEY="")

    assert done.returncode == 5
    assert "wrong name or password" in done.stderr


def test_a_token_file_is_read_and_its_permissions_are_looked_at(newest, primus, tmp_path):
    path = tmp_path / "token"
    path.write_text("ak-right\n")
    path.chmod(0o644)

    done = primus("--url", newest.url, "--token-file", str(path), "list", PRIMUS_SAFE_API_KEY="ak-wrong")

    assert done.returncode == 0
    assert f"other users can read {path}" in done.stderr


def test_https_with_a_certificate_of_ones_own(primus, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    with serving(SafeServer(NEW), certificate=(certificate, key)) as state:
        refused = primus("--url", state.url, "list")
        trusted = primus("--url", state.url, "--ca-file", str(certificate), "list")

    assert (refused.returncode, trusted.returncode) == (5, 0), trusted.stderr
    assert "is not trusted here" in refused.stderr
    assert primus("--url", state.url, "--ca-file", str(tmp_path / "none"), "list").returncode == 4


def test_no_command_for_a_server_loads_the_client_for_clusters(newest, tmp_path):
    script = (
        "import sys; sys.argv = ['primus', 'k8s', '--url', sys.argv[1], 'list']\n"
        "from primus.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'kubernetes', 'torch', 'yaml'} & set(sys.modules), set(sys.modules)"
    )
    environment = os.environ | {"PRIMUS_SAFE_API_KEY": "ak-right"}

    done = subprocess.run([sys.executable, "-c", script, newest.url], env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip

    assert done.returncode == 0, done.stderr

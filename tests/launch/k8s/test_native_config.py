"""Configurations as clusters hand them out, read by the official client."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from primus.errors import MissingError, UsageError
from primus.launch.k8s.native.config import connect

PLUGIN = """#!/bin/sh
echo called >> {calls}
printf '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": "token-%s",
"expirationTimestamp": "2020-01-01T00:00:00Z"}}}}' "$(wc -l < {calls})"
"""


@pytest.fixture
def kubeconfig(tmp_path: Path):
    """Writes one for a user and a cluster with these settings."""

    def write(user: dict[str, Any], **cluster: Any) -> Path:
        path = tmp_path / "config"
        context = {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": "https://cluster.example/", **cluster}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [context],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    return write


def connected(path: Path, namespace: str | None = None):
    return connect(context=None, kubeconfig=path, in_cluster=False, namespace=namespace, timeout=5)


def test_a_token_and_the_namespace_of_the_context_are_taken(kubeconfig):
    with connected(kubeconfig({"token": "right"})) as cluster:
        assert cluster.endpoint.authorization() == "Bearer right"
        assert (cluster.endpoint.url, cluster.namespace) == ("https://cluster.example", "team")


def test_a_token_of_a_plugin_is_asked_for_again_when_it_has_expired(kubeconfig, tmp_path):
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.format(calls=tmp_path / "calls"))
    plugin.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": str(plugin), "interactiveMode": "Never"}}

    with connected(kubeconfig(user)) as cluster:
        first, second = cluster.endpoint.authorization(), cluster.endpoint.authorization()

    assert first != second
    assert str(second).startswith("Bearer token-")


def test_a_proxy_and_certificates_are_taken_and_their_files_go_away(kubeconfig):
    data = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()
    settings = {"proxy-url": "http://proxy.example:3128", "certificate-authority-data": data}

    with connected(kubeconfig({"token": "right"}, **settings)) as cluster:
        assert cluster.endpoint.proxy == "http://proxy.example:3128"
        kept = Path(str(cluster.endpoint.verify))
        assert kept.read_text() == "-----BEGIN CERTIFICATE-----"
    assert not kept.exists()


def test_a_namespace_can_not_lead_elsewhere_in_the_api(kubeconfig):
    with pytest.raises(UsageError, match="--namespace"), connected(kubeconfig({"token": "x"}), namespace="a/../b"):
        pass


def test_a_configuration_may_be_in_several_files_and_without_a_current_context(tmp_path, monkeypatch):
    cluster = {"name": "c", "cluster": {"server": "https://cluster.example"}}
    places = {"clusters": [cluster], "users": [{"name": "u", "user": {"token": "right"}}], "contexts": []}
    names = {"contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}]}
    for name, content in {"a": places, "b": names}.items():
        (tmp_path / name).write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'a'}:{tmp_path / 'b'}")

    with connect(context="here", kubeconfig=None, in_cluster=False, namespace=None, timeout=5) as found:
        assert (found.namespace, found.endpoint.authorization()) == ("team", "Bearer right")


@pytest.mark.parametrize("content", [b"a: [", b"\x80\x81", b"[]", b"words"])
def test_a_file_that_is_no_configuration_is_said(content, tmp_path):
    path = tmp_path / "config"
    path.write_bytes(content)

    with pytest.raises(MissingError, match="is no kubeconfig"), connected(path):
        pass

"""How to reach a cluster: from a kubeconfig (exec plugins, certificates and all) or from inside a pod, read by the
official client; requests go through our own http.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from primus.errors import MissingError
from primus.launch.k8s.http import Endpoint, Reading
from primus.launch.k8s.workload import require_name

_READINGS = Reading(
    code="reason",
    message="message",
    codes={
        "Unauthorized": "the cluster does not know who you are; log in again, or see `kubectl config view`",
        "Forbidden": "your account may not do this in this namespace",
        "AlreadyExists": "something of this name is there already",
        "Conflict": "somebody changed it at the same time",
        "Invalid": "the cluster does not accept these values",
    },
    statuses={401: "the cluster does not know who you are", 404: "the cluster knows no such thing"},
)

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """An endpoint and the namespace to work in."""

    endpoint: Endpoint
    namespace: str


@contextmanager
def connect(
    *, context: str | None, kubeconfig: Path | None, in_cluster: bool, namespace: str | None, timeout: float
) -> Iterator[Cluster]:
    """The cluster that the options name; MissingError when there is no such configuration. The certificates and keys of
    a kubeconfig are files while the context is open, and gone afterwards."""
    try:
        from kubernetes import client, config
    except ImportError:
        raise MissingError("clusters need the official client; install it with: pip install 'primus[k8s]'") from None
    settings: Any = client.Configuration()
    with TemporaryDirectory(prefix="primus-k8s-") as folder:
        try:
            if in_cluster:
                config.load_incluster_config(client_configuration=settings)
                found = (_SERVICE_ACCOUNT / "namespace").read_text().strip()
            else:
                # The client looks at the variable only once, when it is imported.
                file = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or None
                _require_mappings(file)
                config.load_kube_config(
                    file, context=context, client_configuration=settings, persist_config=False, temp_file_path=folder
                )
                found = _namespace_of(file, context)
        except (config.ConfigException, OSError) as error:
            place = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
            where = "this is no pod of a cluster" if in_cluster else place
            raise MissingError(f"no way to the cluster: {error} ({where})") from None
        namespace = require_name(namespace or found or "default", "--namespace")
        yield Cluster(endpoint=_endpoint(settings, timeout), namespace=namespace)


def _endpoint(settings: Any, timeout: float) -> Endpoint:
    certificate = (settings.cert_file, settings.key_file) if settings.cert_file and settings.key_file else None
    verify: bool | Path = bool(settings.verify_ssl)
    if verify and settings.ssl_ca_cert:
        verify = Path(settings.ssl_ca_cert)
    return Endpoint(
        url=str(settings.host).rstrip("/"),
        authorization=lambda: settings.auth_settings().get("BearerToken", {}).get("value"),
        verify=verify,
        certificate=certificate,
        proxy=settings.proxy or None,
        timeout=timeout,
        server="Kubernetes API server",
        readings=_READINGS,
        login="log in to the cluster first",
    )


def _require_mappings(files: str | None) -> None:
    """The client takes for granted that a configuration is one, whatever the file holds."""
    import yaml

    for file in (files or "~/.kube/config").split(os.pathsep):
        path = Path(file).expanduser()
        if not path.exists():  # of several, some may be missing
            continue
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise MissingError(f"{file} is no kubeconfig: {error}") from None
        if not isinstance(content, dict):
            raise MissingError(f"{file} is no kubeconfig: it holds no clusters, users and contexts")


def _namespace_of(file: str | None, context: str | None) -> str:
    """Of a context that is there; the client's own list wants a current one even when another is meant."""
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

    merged = KubeConfigMerger(file or KUBE_CONFIG_DEFAULT_LOCATION).config
    chosen = merged["contexts"].get_with_name(context or merged["current-context"])
    return str(chosen["context"].safe_get("namespace") or "")

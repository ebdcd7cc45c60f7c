"""What `primus k8s --context` is asked for beyond the workload itself, read from the command line's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from primus.errors import UsageError

Kind = Literal["job", "jobset", "pytorchjob"]

AMD_GPU = "amd.com/gpu"

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

_RESOURCE = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """Storage that the pods mount."""

    kind: Literal["pvc", "host"]
    source: str
    """A claim's name, or a folder of each node."""

    path: str
    """In the pods."""

    read_only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterOptions:
    """How the pods of a workload are made on a cluster."""

    kind: Kind = "job"
    queue: str | None = None
    """Local queue of Kueue."""

    gpu_resource: str | None = None
    """Under which name nodes offer their GPUs; None looks at the nodes."""

    rdma: tuple[str, int] | None = None
    """Resource and count for each pod, for instance of an RDMA device plugin."""

    host_network: bool = False
    shared_memory: str | None = None
    """Size of /dev/shm; None takes half of the memory, which only what is written there uses up."""

    volumes: tuple[Volume, ...] = ()
    tolerations: tuple[dict[str, Any], ...] = ()
    priority_class: str | None = None
    service_account: str | None = None


def parse_volume(text: str) -> Volume:
    """`pvc:CLAIM:/path[:ro]` or `host:/folder:/path[:ro]`; `host:/folder` is mounted at its own path."""
    kind, _, rest = text.partition(":")
    parts = rest.split(":")
    read_only = parts[-1] == "ro"
    parts = parts[:-1] if read_only else parts
    if kind == "host" and len(parts) == 1:
        parts *= 2
    if kind not in ("pvc", "host") or len(parts) != 2 or not all(parts) or not parts[1].startswith("/"):
        raise UsageError(f"--volume {text!r}: expected pvc:CLAIM:/path[:ro] or host:/folder[:/path][:ro]")
    if kind == "host" and not parts[0].startswith("/"):
        raise UsageError(f"--volume {text!r}: the folder of the node must begin with /")
    return Volume(kind="pvc" if kind == "pvc" else "host", source=parts[0], path=parts[1], read_only=read_only)


def parse_toleration(text: str) -> dict[str, Any]:
    """`KEY[=VALUE][:EFFECT]`, as kubectl writes taints."""
    match = re.fullmatch(r"(?P<key>[^=:\s]+)(=(?P<value>[^=:\s]*))?(:(?P<effect>\w+))?", text)
    effects = ("NoSchedule", "PreferNoSchedule", "NoExecute")
    if not match or (match["effect"] and match["effect"] not in effects):
        raise UsageError(
            f"--toleration {text!r}: expected KEY[=VALUE][:EFFECT], the effect one of {', '.join(effects)}"
        )
    toleration = {"key": match["key"], "operator": "Exists" if match["value"] is None else "Equal"}
    if match["value"] is not None:
        toleration["value"] = match["value"]
    if match["effect"]:
        toleration["effect"] = match["effect"]
    return toleration


def parse_resource(option: str, text: str) -> tuple[str, int]:
    """`NAME[=COUNT]`, one when no count is given."""
    name, sign, count = text.partition("=")
    if not _RESOURCE.fullmatch(name) or (sign and not count.isdecimal()):
        raise UsageError(f"{option} {text!r}: expected a resource such as rdma/hca_shared_devices=1")
    return name, int(count) if sign else 1


def require_labels(labels: Mapping[str, str]) -> None:
    """Kubernetes is stricter with labels than a Primus-SaFE server."""
    for key, value in labels.items():
        prefix, _, name = key.rpartition("/")
        if not _LABEL.fullmatch(name) or (prefix and (not _PREFIX.fullmatch(prefix) or len(prefix) > 253)):
            raise UsageError(
                f"--label {key!r}: on a cluster, a label's key is at most 63 letters, digits, `-`, `_` and `.`, with "
                "or without a domain and `/` before them"
            )
        if value and not _LABEL.fullmatch(value):
            raise UsageError(
                f"--label {key}={value!r}: on a cluster, a label's value is at most 63 letters, digits, `-`, `_` and "
                "`.`, the first and the last one a letter or digit"
            )


def require_distinct_paths(volumes: Sequence[Volume]) -> None:
    paths = [volume.path for volume in volumes]
    doubled = sorted({path for path in paths if paths.count(path) > 1})
    if doubled:
        raise UsageError(f"--volume: several are mounted at {', '.join(doubled)}")

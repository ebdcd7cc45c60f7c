"""From the options before the verb to the target that the verbs speak to, and how they print what it says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from primus.errors import UsageError
from primus.launch.k8s.native.options import ClusterOptions
from primus.launch.k8s.safe.access import Access
from primus.launch.k8s.safe.auth import find_token
from primus.launch.k8s.safe.target import SafeTarget
from primus.launch.k8s.target import Target
from primus.redact import redact_values

if TYPE_CHECKING:
    from primus.launch.k8s.native.target import ClusterTarget

WORKSPACE = "primus-safe-pretrain"

_AT_ONCE = 100
"""Items that are copied and written at a time."""

Output = Literal["table", "json", "id"]

OutputOption = Annotated[
    Output | None,
    typer.Option(
        "--output", "-o", help="A table, the server's JSON, or ids only.  [default: a table on a terminal, else JSON]"
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Like -o json.")]

WorkloadId = Annotated[str, typer.Option("--workload-id", metavar="ID", help="As create printed it.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """Where workloads run, as the command line says it."""

    url: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    context: str | None = None
    kubeconfig: Path | None = None
    in_cluster: bool = False
    namespace: str | None = None
    timeout: float

    @property
    def native(self) -> bool:
        """Straight on a cluster."""
        return bool(self.context or self.kubeconfig or self.in_cluster)

    def access(self) -> Access:
        if self.native:
            raise UsageError("this is for Primus-SaFE servers only, which --url names")
        if self.url is None:
            raise UsageError(
                "where? `primus k8s --url http://HOST ...` (or PRIMUS_SAFE_URL) names a Primus-SaFE server, "
                "`primus k8s --context NAME ...` a cluster of your kubeconfig"
            )
        token = find_token(self.url, self.token_file, os.environ)
        return Access(url=self.url, token=token, ca_file=self.ca_file, timeout=self.timeout)

    def target(self, workspace: str | None = None) -> Target:
        return self.cluster(workspace, ClusterOptions()) if self.native else self.safe(workspace)

    def safe(self, workspace: str | None = None) -> SafeTarget:
        """For what only a Primus-SaFE server has."""
        return SafeTarget(self.access(), workspace=workspace)

    def cluster(self, workspace: str | None, options: ClusterOptions) -> ClusterTarget:
        """For what only a cluster has. A workspace is a namespace there."""
        from primus.launch.k8s.native.config import connect
        from primus.launch.k8s.native.target import ClusterTarget

        if self.namespace and workspace and self.namespace != workspace:
            raise UsageError(
                f"--namespace {self.namespace}, --workspace {workspace}: both name the namespace; give one"
            )
        held = ExitStack()
        with ExitStack() as stack:
            cluster = stack.enter_context(
                connect(
                    context=self.context,
                    kubeconfig=self.kubeconfig,
                    in_cluster=self.in_cluster,
                    namespace=self.namespace or workspace,
                    timeout=self.timeout,
                )
            )
            target = ClusterTarget(cluster, options, close=held.close)
            held.push(stack.pop_all())
            return target


def show(
    answer: Any, output: Output | None, *, as_json: bool, table: Callable[[], str], ids: Callable[[], str]
) -> None:
    """Print an answer in the form that was asked for. Secrets in it (a workload's environment) are taken out."""
    form = "json" if as_json else output or ("table" if sys.stdout.isatty() else "json")
    if form == "json":
        _print_json(answer)
    elif text := table() if form == "table" else ids():
        print(text)


def _print_json(answer: Any) -> None:
    """Of a list each item on a line of its own, one after the other: there may be ten thousand."""
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        print(json.dumps(redact_values(answer) if isinstance(answer, dict) else answer, indent=2))
        return
    others = redact_values({name: value for name, value in answer.items() if name != "items"})
    write = sys.stdout.write
    write("{" + "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in others.items()))
    write('"items": [')
    for start in range(0, len(answer["items"]), _AT_ONCE):
        some = redact_values({"items": answer["items"][start : start + _AT_ONCE]})["items"]
        write(",\n"[not start :] + ",\n".join(map(json.dumps, some)))
    write("\n]}\n")

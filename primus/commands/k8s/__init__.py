"""`primus k8s`: workloads on Kubernetes, through a Primus-SaFE server or straight on a cluster. cli.py loads `app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primus.commands.k8s import create, look
from primus.commands.k8s.connection import Connection
from primus.commands.options import no_nan
from primus.errors import UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback(help="Train on Kubernetes: create workloads, look at them, end them.")
def _k8s(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(envvar="PRIMUS_SAFE_URL", metavar="URL", help="Primus-SaFE server, as http(s)://HOST[:PORT]."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Holds an API key or token.  [default: PRIMUS_SAFE_API_KEY, or the last login]"
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(envvar="PRIMUS_SAFE_CA_FILE", metavar="FILE", help="Certificates to trust, for https."),
    ] = None,
    kube_context: Annotated[
        str | None,
        typer.Option("--context", metavar="NAME", help="Straight on the cluster of this kubeconfig context."),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Straight on the cluster of this kubeconfig.  [default: as kubectl]"),
    ] = None,
    in_cluster: Annotated[bool, typer.Option("--in-cluster", help="On the cluster whose pod this is.")] = False,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Of the cluster.  [default: the context's]")
    ] = None,
    request_timeout: Annotated[
        float,
        typer.Option(min=0.1, callback=no_nan, metavar="SECONDS", help="Longest wait for one answer of the server."),
    ] = 30.0,
) -> None:
    native = [kube_context, kubeconfig, in_cluster or None]
    source = context.get_parameter_source("url")
    if any(native) and source is not None and source.name == "COMMANDLINE":
        raise UsageError("--url names a Primus-SaFE server; --context, --kubeconfig and --in-cluster name a cluster")
    if namespace and not any(native):
        raise UsageError("--namespace is for a cluster (--context, --kubeconfig); a Primus-SaFE server has --workspace")
    context.obj = Connection(
        url=url,
        token_file=token_file,
        ca_file=ca_file,
        context=kube_context,
        kubeconfig=kubeconfig,
        in_cluster=in_cluster,
        namespace=namespace,
        timeout=request_timeout,
    )


create.add_to(app)
look.add_to(app)

"""`primus k8s`: workloads on Kubernetes, through a Primus-SaFE server. cli.py loads `app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primus.commands.k8s import create, look
from primus.commands.k8s.connection import Connection

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


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
    request_timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Longest wait for one answer of the server.")
    ] = 30.0,
) -> None:
    context.obj = Connection(url=url, token_file=token_file, ca_file=ca_file, timeout=request_timeout)


create.add_to(app)
look.add_to(app)

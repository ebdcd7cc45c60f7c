"""`primus k8s get, list, nodes, workspaces, logs, wait, stop, delete, login`: everything but create."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, Literal

import typer

from primus.commands.k8s.connection import Connection, JsonOption, OutputOption, WorkloadId, show
from primus.commands.options import no_nan
from primus.errors import UsageError
from primus.launch.k8s.http import RefusedError
from primus.launch.k8s.listing import Field, Filters, parse_time
from primus.launch.k8s.rows import node_table, pod_table, workload_table
from primus.launch.k8s.workload import require_name
from primus.table import table

Workspace = Annotated[str | None, typer.Option(metavar="NAME", help="Only what belongs to this workspace.")]


def add_to(app: typer.Typer) -> None:
    for command in (get, list_, nodes, workspaces, logs, wait, stop, delete, login):
        app.command(command.__name__.rstrip("_"))(command)


def get(
    context: typer.Context, workload_id: WorkloadId, output: OutputOption = None, as_json: JsonOption = False
) -> None:
    """Show one workload and its pods."""
    with _connection(context).target() as target:
        answer = target.get(workload_id)
        show(
            answer,
            output,
            as_json=as_json,
            table=lambda: f"{workload_table([target.row(answer)])}\n\n{pod_table(target.pods(answer))}",
            ids=lambda: target.row(answer).id,
        )


def list_(
    context: typer.Context,
    workspace: Workspace = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Only this user's.")] = None,
    phase: Annotated[
        str | None, typer.Option(metavar="PHASE[,PHASE]", help="Only workloads in these phases, for instance Running.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Created later, as in 2026-01-31T12:00:00 (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Created earlier.")] = None,
    sort_by: Annotated[Field, typer.Option(help="What the order goes by.")] = "created",
    order: Annotated[
        Literal["asc", "desc"] | None, typer.Option(help="Upward or downward.  [default: newest first, else upward]")
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the workloads."""
    filters = Filters(
        user=user,
        phase=phase,
        since=parse_time(since, "--since") if since else None,
        until=parse_time(until, "--until") if until else None,
        sort_by=sort_by,
        order=order,
    )
    with _connection(context).target(workspace) as target:
        answer = target.workloads(filters)
        rows = target.rows(answer)
        show(
            answer,
            output,
            as_json=as_json,
            table=lambda: workload_table(rows),
            ids=lambda: "\n".join(row.id for row in rows),
        )


def nodes(
    context: typer.Context, workspace: Workspace = None, output: OutputOption = None, as_json: JsonOption = False
) -> None:
    """List the nodes, their GPUs, and who uses them."""
    with _connection(context).target(workspace) as target:
        answer = target.nodes()
        rows = target.node_rows(answer)
        show(
            answer,
            output,
            as_json=as_json,
            table=lambda: node_table(rows),
            ids=lambda: "\n".join(row.name for row in rows),
        )


def workspaces(context: typer.Context, output: OutputOption = None, as_json: JsonOption = False) -> None:
    """List the workspaces of a Primus-SaFE server."""
    with _connection(context).safe() as target:
        answer = target.workspaces()
        names = [
            (str(item.get("workspaceId", "")), str(item.get("phase", "")), str(item.get("currentNodeCount", "")))
            for item in answer.get("items") or ()
        ]
        show(
            answer,
            output,
            as_json=as_json,
            table=lambda: table(("workspace", "phase", "nodes"), names, right={2}),
            ids=lambda: "\n".join(name for name, *_ in names),
        )


def logs(
    context: typer.Context,
    workload_id: WorkloadId,
    pod: Annotated[str | None, typer.Option(metavar="NAME", help="One pod.  [default: all]")] = None,
    lines: Annotated[int, typer.Option(min=1, metavar="N", help="Last lines of each pod.")] = 1000,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the workload has ended, and exit with its status.")
    ] = False,
) -> None:
    """Show what the pods have printed."""
    with _connection(context).target() as target:
        answer = target.get(workload_id)
        names = [each.name for each in target.pods(answer)]
        if pod is not None and pod not in names:
            raise UsageError(f"--pod {pod}: {workload_id} has no such pod, it has {', '.join(names) or 'none yet'}")
        several = pod is None and target.row(answer).replicas > 1

        def put(name: str, line: str) -> None:
            print(f"[{name}] {line}" if several else line, flush=True)

        if follow:
            target.follow(workload_id, pod, lines=lines, show=put)
            raise typer.Exit(target.exit_status(target.get(workload_id)) or 0)
        for name in names if pod is None else [pod]:
            try:
                tail = target.logs(workload_id, name, lines=lines)
            except RefusedError as error:
                if pod is not None or error.code not in (400, 404):
                    raise
                print(f"{name} has no log yet, or none any more: {error}", file=sys.stderr)
                continue
            for line in tail:
                put(name, line)


def wait(
    context: typer.Context,
    workload_id: WorkloadId,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, callback=no_nan, metavar="SECONDS", help="Leave with status 124 when it takes longer."),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=0.1, callback=no_nan, metavar="SECONDS", help="Between two questions.")
    ] = 5.0,
) -> None:
    """Wait for the end of a workload.

    The exit status is the training's own: 0 when it succeeded, 143 when it was stopped."""
    deadline = None if timeout is None else time.monotonic() + timeout
    phase = ""
    with _connection(context).target() as target:
        while True:
            answer = target.get(workload_id)
            row, status = target.row(answer), target.exit_status(answer)
            if row.phase != phase:
                phase = row.phase
                print(f"{workload_id}: {phase}{f': {row.message}' if row.message else ''}", file=sys.stderr, flush=True)
            if status is not None:
                raise typer.Exit(status)
            if deadline is not None and time.monotonic() + interval > deadline:
                print(f"{workload_id}: still {phase} after {timeout:g} s", file=sys.stderr)
                raise typer.Exit(124)
            time.sleep(interval)


def stop(context: typer.Context, workload_id: WorkloadId) -> None:
    """End a workload, and keep it in the lists.

    Its run directory and checkpoints stay."""
    with _connection(context).target() as target:
        target.stop(workload_id)
    print(f"{workload_id}: asked to stop", file=sys.stderr)


def delete(context: typer.Context, workload_id: WorkloadId) -> None:
    """End a workload, and take it out of the lists.

    Its run directory and checkpoints stay."""
    with _connection(context).target() as target:
        target.delete(workload_id)
    print(f"{workload_id}: deleted", file=sys.stderr)


def login(
    context: typer.Context,
    user: Annotated[str, typer.Option(metavar="NAME", prompt=True, help="Name of the account.")],
) -> None:
    """Log in to a Primus-SaFE server.

    The password is read from the terminal, or from standard input. The token is kept for you only."""
    from primus.launch.k8s.http import Http
    from primus.launch.k8s.safe.auth import log_in

    password = typer.prompt("Password", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    connection = _connection(context)
    access = connection.access()
    with Http(access.endpoint()) as http:
        path = log_in(http, access.url, name=user, password=password, environ=os.environ)
    print(f"Logged in; the token is in {path}", file=sys.stderr)


def _connection(context: typer.Context) -> Connection:
    connection = context.obj
    assert isinstance(connection, Connection)
    if "workload_id" in context.params:
        require_name(context.params["workload_id"], "--workload-id")
    return connection

"""`primus doctor`: is this machine, or are these nodes, fit for training? cli.py loads `app`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from primus.commands import options
from primus.launch.care import Care
from primus.launch.devices import find_accelerators
from primus.launch.topology import plan_resources
from primus.output import check_output, write_output

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_CARE = Care()
"""What holds where nothing is chosen."""


@app.command()
def doctor(
    full: Annotated[bool, typer.Option("--full", help="Measure longer, with more sizes and all pairs.")] = False,
    nnodes: options.Nodes = 1,
    node_rank: options.NodeRank = 0,
    nproc_per_node: options.ProcessesPerNode = None,
    master_addr: options.MasterAddress = None,
    master_port: options.MasterPort = None,
    workspace: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where runs go: measured, and the results are kept there.")
    ] = Path("output"),
    data: Annotated[
        Path | None, typer.Option(envvar="DATA_PATH", metavar="FOLDER", help="Where training data is: measured.")
    ] = None,
    step_timeout: Annotated[
        float | None,
        typer.Option(
            min=1,
            callback=options.no_nan,
            metavar="SECONDS",
            help="A worker that is longer at one measurement hangs.  [default: 45, with --full 120]",
        ),
    ] = None,
    rendezvous_timeout: options.RendezvousTimeout = _CARE.rendezvous_timeout,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page as well.")] = None,
) -> None:
    """Examine this machine, or several nodes: host, network, and the measured rates of devices and connections.

    Run it on every node for several, as `primus train`; node 0 reports. Exit status: 0 fine, 10 warnings, 20 errors.
    """
    from primus.doctor.session import Request, examine

    if html is not None:
        check_output(html)
    accelerators = find_accelerators(os.environ)
    resources = plan_resources(
        nnodes=nnodes,
        node_rank=node_rank,
        nproc_per_node=nproc_per_node,
        master_addr=master_addr or None,
        master_port=master_port,
        accelerators=accelerators,
    )
    folders = {"run": workspace, "cache": _cache(), **({"data": data} if data else {})}
    answer = examine(
        Request(
            resources=resources,
            accelerators=accelerators,
            workspace=workspace,
            folders=folders,
            full=full,
            limit=step_timeout,
            rendezvous_timeout=rendezvous_timeout,
            argv=sys.argv,
        )
    )
    if isinstance(answer, int):
        print(f"Done; node 0 reports. Exit status {answer}.", file=sys.stderr)
        raise typer.Exit(answer)
    if html is not None:
        from primus.doctor.page import page

        write_output(html, page(answer))
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        from primus.doctor.report import text

        print(text(answer))
    raise typer.Exit(answer["exit_status"])


def _cache() -> Path:
    """Where downloads and compiled kernels are kept."""
    return Path(os.environ.get("HF_HOME") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

"""`primus estimate`: what a training will need, and which layouts of it fit. cli.py loads `app`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from primus.commands import options
from primus.errors import ExperimentError

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PER_NODE = 8


@app.command()
def estimate(
    exp: options.Exp,
    backend: options.BackendName = None,
    sets: options.Sets = None,
    accelerator: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it runs on, such as MI300X; without it, no time."),
    ] = None,
    nnodes: options.Nodes = 1,
    nproc_per_node: Annotated[
        int, typer.Option(envvar="GPUS_PER_NODE", min=1, metavar="N", help="Accelerators of each node.")
    ] = PER_NODE,
    rates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measured rates: what `primus doctor --json` printed.")
    ] = None,
    efficiency: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1,
            callback=options.no_nan,
            metavar="PART",
            help="Of the peak or measured GEMM rate.  [default: 0.5]",
        ),
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="List the layouts that fit --accelerator, best first, and why others fail.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with exact numbers.")] = False,
) -> None:
    """Estimate what a training needs: parameters, FLOPs, memory by pipeline stage, communication, time. No GPU needed.

    docs/estimate.md has the formulas, and how far they were from what was measured.
    """
    from primus.backends.prepare import prepare
    from primus.estimate.call import Estimate, Layouts, estimate_on, layouts_on, target_of

    target = target_of(accelerator, nnodes, nproc_per_node, rates, efficiency)
    checked_for = None if search else target.resources
    prepared = prepare(exp, sets=sets or (), framework=backend, resources=checked_for, environ=os.environ)
    found: Estimate | Layouts = layouts_on(target, prepared) if search else estimate_on(target, prepared)
    print(json.dumps(found.as_data(), indent=2) if as_json else found)
    if prepared.errors:
        raise ExperimentError(prepared.errors)

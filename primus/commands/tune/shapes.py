"""`primus tune shapes`: the GEMMs that an experiment will run, predicted without a GPU."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from primus.backends.prepare import prepare, warn
from primus.commands import options
from primus.job import Resources
from primus.launch.devices import find_accelerators
from primus.output import refuse_standard


def add_to(app: typer.Typer) -> None:
    app.command(short_help="Predict the GEMM shapes of an experiment, without a GPU.")(shapes)


def shapes(
    exp: options.Exp,
    backend: options.BackendName = None,
    sets: options.Sets = None,
    nnodes: options.Nodes = 1,
    nproc_per_node: options.ProcessesPerNode = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write them as stage 1 does; stage 2 can start with that."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict the GEMMs of one training step from the experiment's architecture and layout.

    What is predicted is for GPUs, whatever this machine has. Stage 1 finds what training really does.
    """
    from primus.tuning.predict import predict_shapes
    from primus.tuning.shapes import write_shapes
    from primus.tuning.table import shapes_json, shapes_table

    if output is not None:
        refuse_standard(output)
    resources = Resources(nnodes=nnodes, nproc_per_node=nproc_per_node or _gpus(), accelerator="amd")
    prepared = prepare(exp, sets=sets or (), framework=backend, resources=resources, environ=os.environ)
    warn(prepared.warnings)
    found, notes = predict_shapes(prepared.backend, prepared.usable(), resources)
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    if output is not None:
        write_shapes(output, found)
    if as_json:
        print(json.dumps({**_facts(resources), **shapes_json(found), "notes": notes}, indent=2))
    else:
        print(shapes_table(found, title=f"Predicted for one step on {_place(resources)}"))
        if output is not None:
            print(f"Written to {output}")


_USUAL_GPUS = 8


def _gpus() -> int:
    """Those of this machine; without any, those of a usual node."""
    return find_accelerators(os.environ).count or _USUAL_GPUS


def _facts(resources: Resources) -> dict[str, Any]:
    return {"nnodes": resources.nnodes, "nproc_per_node": resources.nproc_per_node}


def _place(resources: Resources) -> str:
    nodes, each = resources.nnodes, resources.nproc_per_node
    return f"{nodes} node{'s' * (nodes > 1)} with {each} process{'es' * (each > 1)} each"

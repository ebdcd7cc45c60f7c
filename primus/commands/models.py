"""`primus models`: the shipped experiments, each with the size of its model and what it fits on. cli.py loads `app`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from primus.backends.prepare import Prepared, prepare
from primus.experiment.paths import frameworks, shipped
from primus.job import Resources
from primus.metrics.accelerators import named
from primus.table import table

app = typer.Typer(rich_markup_mode=None, add_completion=False)

ACCELERATOR = "MI300X"
"""What the shipped experiments are laid out for."""

GPUS_PER_NODE = 8
MOST_GPUS = 512
USABLE = 0.9
"""Part of a GPU's memory that an experiment may need by estimate; libraries, communication and uneven experts take the
rest."""

COLUMNS = ("name", "backend", "parameters", "active", "layers", "context", "fits on")


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with exact numbers.")] = False,
) -> None:
    """List the models that Primus ships an experiment for, and what each fits on.

    Train one with `primus train --exp NAME`; a name that both backends have needs `--exp BACKEND/NAME` for the second.
    """
    names = [(each, name) for each in frameworks("experiments") for name in shipped("experiments", each)]
    rows = sorted((_row(*each) for each in names), key=_order)
    print(json.dumps(rows, indent=2) if as_json else table(COLUMNS, [_cells(row) for row in rows], right=range(2, 6)))


def gpus_of(prepared: Prepared) -> int | None:
    """GPUs of the accelerator that an experiment needs at least, as a power of two; None when MOST_GPUS are too few."""
    accelerator = named(ACCELERATOR)
    assert accelerator is not None
    limit = USABLE * accelerator.memory_gib * 2**30
    backend, experiment = prepared.backend, prepared.usable()
    count = 1
    while count <= MOST_GPUS:
        nodes = max(1, count // GPUS_PER_NODE)
        resources = Resources(nnodes=nodes, nproc_per_node=count // nodes, accelerator="amd")
        problems = backend.check(experiment, resources)
        possible = all(problem.severity != "error" for problem in problems)
        if possible and backend.memory(experiment, count) <= limit:
            return count
        count *= 2
    return None


def _order(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """Families together, small models first."""
    return row["backend"], row["name"].partition("_")[0], row["parameters"]


def _row(framework: str, name: str) -> dict[str, Any]:
    prepared = prepare(f"{framework}/{name}", environ=_WITHOUT_ENVIRONMENT)
    facts = prepared.backend.facts(prepared.usable())
    return {
        "name": name,
        "backend": framework,
        "parameters": facts.parameters,
        "active_parameters": facts.active,
        "layers": facts.layers,
        "context": facts.context,
        "accelerator": ACCELERATOR,
        "gpus": gpus_of(prepared),
    }


_WITHOUT_ENVIRONMENT: Mapping[str, str] = {}
"""The list is of what is shipped, whatever variables are set here."""


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        row["backend"],
        _short(row["parameters"]),
        "" if row["active_parameters"] == row["parameters"] else _short(row["active_parameters"]),
        str(row["layers"]),
        f"{row['context']:,}",
        _fits(row["gpus"]),
    )


def _short(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"


def _fits(gpus: int | None) -> str:
    if gpus is None:
        return f"more than {MOST_GPUS} × {ACCELERATOR}"
    if gpus <= GPUS_PER_NODE:
        return f"{gpus} × {ACCELERATOR}"
    return f"{gpus // GPUS_PER_NODE} nodes of {GPUS_PER_NODE} × {ACCELERATOR}"

"""`primus estimate`: what a training will need, and which layouts of it fit. cli.py loads `app`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primus.commands import options
from primus.errors import ExperimentError, UsageError

if TYPE_CHECKING:
    from primus.backends.account import Account
    from primus.backends.prepare import Prepared
    from primus.estimate.rates import Rates
    from primus.job import Resources
    from primus.metrics.accelerators import Accelerator, Precision

app = typer.Typer(rich_markup_mode=None, add_completion=False)

SHOWN = 10
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
        typer.Option(min=0.01, max=1, metavar="PART", help="Of the peak or measured GEMM rate.  [default: 0.5]"),
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
    from primus.estimate.rates import accelerator_of
    from primus.job import Resources

    chip = None if accelerator is None else accelerator_of(accelerator)
    kind = "nvidia" if chip is not None and chip.name.startswith("NVIDIA") else "amd"
    resources = Resources(nnodes=nnodes, nproc_per_node=nproc_per_node, accelerator=kind)
    prepared = prepare(
        exp, sets=sets or (), framework=backend, resources=None if search else resources, environ=os.environ
    )
    if search:
        print(_search(prepared, resources, chip, rates, efficiency, as_json=as_json))
        return
    print(_estimate(prepared, resources, chip, rates, efficiency, as_json=as_json))
    if prepared.errors:
        raise ExperimentError(prepared.errors)


def _estimate(
    prepared: Prepared,
    resources: Resources,
    chip: Accelerator | None,
    file: Path | None,
    efficiency: float | None,
    *,
    as_json: bool,
) -> str:
    from primus.estimate.search import USABLE
    from primus.estimate.show import as_data, as_text
    from primus.estimate.timing import step_time

    account = _account(prepared, resources)
    rates = _rates(chip, file, account.precision, efficiency)
    timing = None
    if rates is not None:
        timing = step_time(account, rates, devices=resources.world_size, per_node=resources.nproc_per_node)
    limit = None if chip is None else USABLE * chip.memory_gib * 2**30
    source = None if rates is None else rates.source
    if as_json:
        return json.dumps(as_data(account, timing, limit=limit, source=source), indent=2)
    return as_text(account, timing, limit=limit, name="" if chip is None else chip.name, source=source)


def _account(prepared: Prepared, resources: Resources) -> Account:
    """Of an experiment that does not check, as far as its values make sense."""
    try:
        return prepared.backend.account(prepared.experiment, resources.world_size)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        if prepared.errors:
            raise ExperimentError(prepared.errors) from None
        raise


def _search(
    prepared: Prepared,
    resources: Resources,
    chip: Accelerator | None,
    file: Path | None,
    efficiency: float | None,
    *,
    as_json: bool,
) -> str:
    from primus.estimate.search import USABLE, search
    from primus.estimate.show import search_data, search_text

    if chip is None:
        raise UsageError("--search needs --accelerator NAME, such as MI300X: its memory decides what fits.")
    experiment = prepared.usable()
    precision = prepared.backend.account(experiment, resources.world_size).precision
    rates = _rates(chip, file, precision, efficiency)
    assert rates is not None
    limit = USABLE * chip.memory_gib * 2**30
    found = search(prepared.backend, experiment, resources, limit=limit, rates=rates, shown=SHOWN)
    if as_json:
        return json.dumps(search_data(found, SHOWN), indent=2)
    return search_text(found, SHOWN, rates.source)


def _rates(chip: Accelerator | None, file: Path | None, precision: Precision, efficiency: float | None) -> Rates | None:
    from primus.estimate.rates import assumed, measured

    if file is not None:
        return measured(file, precision, efficiency)
    return None if chip is None else assumed(chip, precision, efficiency)

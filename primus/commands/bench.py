"""`primus bench`: the same short training over a grid of settings. cli.py loads `app`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primus.commands import options
from primus.errors import MissingError
from primus.job import Resources
from primus.launch.devices import find_accelerators

if TYPE_CHECKING:
    from primus.experiment import Experiment

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def bench(
    exp: options.Exp,
    vary: Annotated[list[str], typer.Option(metavar="KEY=V1,V2", help="What differs; several give every combination.")],
    backend: options.BackendName = None,
    sets: options.Sets = None,
    nproc_per_node: options.ProcessesPerNode = None,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps to measure in each training.")] = 10,
    warm_up: Annotated[int, typer.Option(min=0, metavar="N", help="Steps before them.")] = 3,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the fastest one as an experiment.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a few steps with each of several settings on this machine, and compare how fast they are.

    A training that runs out of memory, or that fails, is noted, and the next one is tried. Each is a run of the
    experiment NAME-bench, without checkpoints.
    """
    from primus.bench.grid import parse_grid
    from primus.bench.measure import best
    from primus.bench.run import Bench, Interrupted
    from primus.bench.show import as_text
    from primus.output import check_output

    points = parse_grid(vary)
    if output is not None:
        check_output(output)
    found = find_accelerators(os.environ)
    plan = Bench(
        exp=exp,
        backend=backend,
        sets=sets or (),
        resources=Resources(
            nproc_per_node=nproc_per_node or found.count or 1, accelerator=found.kind, gpu_model=found.model
        ),
        warm_up=warm_up,
        steps=steps,
        environ=os.environ,
    )
    try:
        results = plan.measure(points, lambda text: print(text, file=sys.stderr, flush=True))
    except Interrupted:
        raise typer.Exit(130) from None
    print(json.dumps([each.as_json() for each in results], indent=2) if as_json else as_text(results))
    fastest = best(results)
    if fastest is None:
        raise MissingError("none of the trainings came to its end")
    if output is not None:
        _write(output, plan.experiment(fastest.point), f"The fastest of {len(results)} that `primus bench` has tried")


def _write(path: Path, experiment: Experiment, title: str) -> None:
    from primus.experiment import dump
    from primus.experiment.withhold import withhold
    from primus.output import write_output

    write_output(path, f"# {title}.\n{dump(withhold(experiment, os.environ))}")
    print(f"Written to {path}", file=sys.stderr)

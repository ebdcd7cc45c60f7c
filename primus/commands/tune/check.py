"""`primus tune check`: whether a tuning file can act here, before anything is run with it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primus.commands import options
from primus.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from primus.tuning.installed import Installed
    from primus.tuning.shapes import Shapes
    from primus.tuning.use import FileCheck


def add_to(app: typer.Typer) -> None:
    app.command(short_help="Check a tuning file: build, GPUs, rows, coverage.")(check)


def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A tuning file.  [default: that of the experiment, with --exp]"),
    ] = None,
    exp: options.OptionalExp = None,
    shapes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Shapes of stage 1 to compare with; --exp finds its own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check whether training can use a tuning file: build of hipBLASLt, GPU, rows, problems that share a key, damaged
    lines, and how many of the dumped shapes have a row.

    The exit status is 4 for a file that the library here would ignore.
    """
    from primus.tuning.use import check_file

    path, dumped = _places(file, exp, shapes)
    library = _installed()
    found = check_file(path, dumped, library)
    print(json.dumps(asdict(found), indent=2) if as_json else _text(found, known=library is not None))
    if found.refusals:
        raise typer.Exit(ExitStatus.MISSING)


def _places(file: Path | None, exp: str | None, shapes: Path | None) -> tuple[Path, Shapes | None]:
    from primus.tuning.shapes import read_shapes

    if exp is None:
        if file is None:
            raise UsageError("name a tuning file, or give --exp FILE to check that of an experiment")
        return file, None if shapes is None else read_shapes(shapes)
    from primus.experiment import load
    from primus.tuning.place import place_of

    place = place_of(load(exp), os.environ)
    if shapes is None and place.shapes.exists():
        shapes = place.shapes
    return file or place.results, None if shapes is None else read_shapes(shapes)


def _installed() -> Installed | None:
    """Asked on the GPU where there is one; else by its header; None where there is no hipBLASLt."""
    from primus.tuning.hip_find import find_library
    from primus.tuning.installed import from_header, from_library
    from primus.tuning.measure_process import Failure

    if find_library("hipblaslt") is None:
        return None
    answer = from_library()
    return from_header() if isinstance(answer, Failure) else answer


def _text(found: FileCheck, *, known: bool) -> str:
    facts = {
        "file": found.file,
        "build": found.revision or "not said",
        "GPU": ", ".join(found.architectures) or "not said",
        "compute units": ", ".join(map(str, found.compute_units)) or "not said",
        "rows": f"{found.rows}" + (f", and {found.unread} that are not read" if found.unread else ""),
        "shared keys": f"{found.collisions}",
    }
    if found.shapes is not None:
        facts["shapes"] = f"{found.covered} of {found.shapes} have a row, {found.flops_covered:.1%} of the operations"
    lines = [f"{name:<15}{value}" for name, value in facts.items()]
    lines += [f"Warning: {each}" for each in found.warnings]
    lines += [f"Error: {each}" for each in found.refusals]
    verdict = "Training can use it." if known else "Nothing speaks against it."
    return "\n".join([*lines, *([] if found.refusals else [verdict])])

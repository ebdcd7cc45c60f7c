"""`primus tune report`: what stage 2 brought, shape by shape."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from primus.errors import MissingError, PrimusError, UsageError

_REPORT = "report.json"
_OUTPUT = Path("output")
_BAR = (8, 24)
"""Columns of a bar: as wide as the terminal allows."""


def add_to(app: typer.Typer) -> None:
    app.command(short_help="Show what tuning brought, shape by shape.")(report)


def report(
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PLACE]",
            help="A report.json, or a folder of stage 2.  [default: $PRIMUS_MODEL's, else the one below ./output]",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the gains into FILE.svg or FILE.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what tuning brought, shape by shape, and what the kept kernels should bring in all.

    A gain is what repeated runs of default and winner in turn have shown, after ± is its standard error.
    """
    path = _find(place)
    found = _read(path)
    if plot is not None:
        from primus.output import write_output
        from primus.tuning.tune.plot import plot_text

        text = plot_text(found, plot)
        write_output(plot, text)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(_table(found))
    if plot is not None:
        print(f"Drawn in {plot}")


def _find(place: Path | None) -> Path:
    if place is not None:
        if place.is_file():
            return place
        candidates = [place / _REPORT, place / "gemm_tune" / _REPORT]
        path = next((each for each in candidates if each.is_file()), None)
        if path is None:
            raise MissingError(f"{place}: no {_REPORT} there. Stage 2 of `primus tune` writes it beside its results.")
        return path
    model = os.environ.get("PRIMUS_MODEL") or "*"
    found = sorted(_OUTPUT.glob(f"**/tune_hipblaslt/{model}/gemm_tune/{_REPORT}"))
    if not found:
        raise MissingError(f"no {_REPORT} of stage 2 below {_OUTPUT.absolute()}; name its folder")
    if len(found) > 1:
        raise UsageError(
            "several models are tuned here, name one of\n  " + "\n  ".join(str(path.parent) for path in found)
        )
    return found[0]


def _read(path: Path) -> dict[str, Any]:
    from primus.tuning.tune.report import read_report

    try:
        return read_report(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PrimusError(f"{path}: this is no report of stage 2: {error}") from None


def _table(found: Mapping[str, Any]) -> str:
    from primus.table import table
    from primus.tuning.tune.plot import bar, most_gained
    from primus.tuning.tune.summary import WORDS, gain_line, headline

    most = most_gained(found["shapes"])
    rows = [_cells(shape) for shape in found["shapes"]]
    header = ["GEMM", "WITH", "CALLS", "SHARE", "DEFAULT µs", "TUNED µs", "GAIN", "±", ""]
    text = table(header, rows, right=(2, 3, 4, 5, 6, 7)).splitlines()
    widest = max(map(len, text))
    width = max(_BAR[0], min(_BAR[1], shutil.get_terminal_size().columns - widest - 2))
    bars = ["", *(bar(shape.get("gain", 0.0), most, width) for shape in found["shapes"])]
    lines = [
        f"{found['architecture']}, hipBLASLt {found['hipblaslt']}, engine {found['engine']}: {headline(found)}",
        "",
    ]
    lines += [f"{line.ljust(widest)}  {drawn}".rstrip() for line, drawn in zip(text, bars, strict=True)]
    reasons = [
        f"{shape['gemm']} ({WORDS[shape['state']]}): {shape['reason']}"
        for shape in found["shapes"]
        if shape["state"] in ("failed", "skipped", "shared")
    ]
    lines += ["", *reasons] if reasons else []
    lines += ["", gain_line(found)]
    return "\n".join(lines + ([f"It ended early: {found['ended']}"] if found["ended"] != "done" else []))


def _cells(shape: Mapping[str, Any]) -> list[str]:
    from primus.tuning.tune.summary import WORDS

    told = "" if shape["state"] == "kept" else WORDS[shape["state"]]
    first = [shape["gemm"], shape["with"], f"{shape['calls']:,}"]
    if "gain" not in shape:
        return [*first, "", "", "", "", "", told]
    times = [f"{shape['default_us']:,.1f}", f"{shape['tuned_us']:,.1f}"]
    return [*first, f"{shape['share']:.1%}", *times, f"{shape['gain']:+.1%}", f"{shape['noise']:.1%}", told]

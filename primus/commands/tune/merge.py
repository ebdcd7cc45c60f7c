"""`primus tune merge`: several dumps of stage 1, or several results of stage 2, in one file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from primus.errors import MissingError, UsageError
from primus.output import refuse_standard
from primus.run import explained

Kind = Literal["dump", "shapes", "results"]

_HEAD_BYTES = 4096


def add_to(app: typer.Typer) -> None:
    app.command(short_help="Merge several dumps, or several tuning files.")(merge)


def merge(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Dumps, folders of dumps, gemm_shapes.jsonl files; or tuning files."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="What to write.")],
    shapes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Shapes of stage 1: their calls decide which rows go first.")
    ] = None,
) -> None:
    """Merge what several runs have dumped, or what several machines have tuned.

    Of dumps the calls are added up. Of tuning files, all of one hipBLASLt build, each problem's fastest row is kept.
    """
    refuse_standard(output)
    kinds = {path: _kind(path) for path in files}
    results = [path for path, kind in kinds.items() if kind == "results"]
    if results and len(results) < len(files):
        other = next(path for path, kind in kinds.items() if kind != "results")
        raise UsageError(f"{results[0]} is a tuning file and {other} is not: merge the one kind or the other")
    if results:
        _merge_results(files, output, shapes)
    elif shapes is not None:
        raise UsageError("--shapes goes with tuning files")
    else:
        _merge_shapes(kinds, output)


def _kind(path: Path) -> Kind:
    """By what it holds; the name says nothing."""
    if path.is_dir():
        return "dump"
    with explained(f"can't read {path}"), path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"Git Version: ") or b"transA,transB," in head:
        return "results"
    return "shapes" if head.startswith(b'{"problem":') else "dump"


def _merge_shapes(kinds: dict[Path, Kind], output: Path) -> None:
    from primus.tuning.shapes import Shapes, find_dumps, read_dumps, read_shapes, write_shapes
    from primus.tuning.table import shapes_table

    dumps = [
        each
        for path, kind in kinds.items()
        if kind == "dump"
        for each in (find_dumps(path) if path.is_dir() else [path])
    ]
    merged = read_dumps(dumps, processes=os.cpu_count() or 1) if dumps else Shapes()
    for path, kind in kinds.items():
        if kind == "shapes":
            merged.merge(read_shapes(path))
    for example in merged.examples:
        print(f"Warning: {example}", file=sys.stderr)
    if not merged.uses:
        foreign = f"; {merged.foreign:,} lines are not hipBLASLt's" if merged.foreign else ""
        raise MissingError(f"no GEMM in {len(dumps)} files with {merged.lines:,} lines{foreign}")
    with explained(f"can't write {output}"):
        write_shapes(output, merged)
    counts = f"{merged.lines:,} lines, {merged.torn:,} of them torn, {merged.foreign:,} not hipBLASLt's"
    print(shapes_table(merged, title=f"Merged from {merged.files} files ({counts})"))
    print(f"Written to {output}")


def _merge_results(files: Sequence[Path], output: Path, shapes: Path | None) -> None:
    from primus.tuning.results import merge_results, read_results, write_results
    from primus.tuning.shapes import read_shapes

    parts = [read_results(path) for path in files]
    for problem in (problem for part in parts for problem in part.problems):
        print(f"Warning: {problem}", file=sys.stderr)
    calls = None if shapes is None else {gemm: use.calls for gemm, use in read_shapes(shapes).uses.items()}
    rows, notes = merge_results(parts, calls)
    if not parts[0].version:
        raise UsageError(f"{files[0]} does not say for which build it is: hipBLASLt would ignore the merged file, too")
    with explained(f"can't write {output}"):
        write_results(output, parts[0].version, rows)
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    before = sum(len(part.rows) for part in parts)
    print(f"{len(rows)} rows of {before} in {len(parts)} files, for hipBLASLt {parts[0].version}: {output}")

"""Whether a tuning file can act, and whether it does: a check of the file against the library, the GPUs and the shapes
of the experiment, and a probe that asks the library which kernels it takes. `primus tune check` calls it, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from primus.tuning.columns import Row
from primus.tuning.gemm import Gemm, Generation, OverrideKey
from primus.tuning.installed import Installed
from primus.tuning.measure_process import Failure
from primus.tuning.results import read_results, reader_of, unread_because
from primus.tuning.shapes import Shapes

Ask = Callable[[Mapping[str, Any]], "dict[str, Any] | Failure"]
"""Puts a request to child.py, here or in a container."""

_MOST_NAMED = 3
"""Examples in a message."""


@dataclass(kw_only=True, slots=True)
class FileCheck:
    """What a tuning file is, as far as it can be told without running anything."""

    file: str
    revision: str
    """Of the library that it was made with; empty when the file does not say."""

    rows: int = 0
    """That the installed library reads."""

    unread: int = 0
    """Rows that it passes over, and damaged lines."""

    architectures: list[str] = field(default_factory=list)
    compute_units: list[int] = field(default_factory=list)
    collisions: int = 0
    """Keys that several rows with different kernels share: the library takes the last one for all."""

    shapes: int | None = None
    """That the experiment has; None when no dump is there."""

    covered: int = 0
    """Of these, with a row."""

    flops_covered: float = 0.0
    """Their share of the floating-point operations."""

    refusals: list[str] = field(default_factory=list)
    """Why it must not be used."""

    warnings: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Proof:
    """What the library said about the file."""

    asked: int
    """GEMMs that should hit a row."""

    used: int = 0
    """Of these, where the library took a row's kernel."""

    missed: list[str] = field(default_factory=list)
    """The others, by title."""

    reason: str = ""
    """Why some or all were missed; empty when all were used."""


def generation_of(version: int | None) -> Generation:
    """The reader of a library, of the oldest for one that has none; G2 where nothing is known."""
    return "G2" if version is None else reader_of(version) or "G1"


def check_file(path: Path, shapes: Shapes | None, library: Installed | None) -> FileCheck:
    """Read the file and compare it. Raises MissingError when there is none."""
    results = read_results(path)
    generation = generation_of(library.version if library else None)
    found = results.found_by_key(generation)
    read = sum(map(len, found.values()))
    passed_over = [] if read == len(results.rows) else _passed_over(results.rows, generation)
    architectures, units = _devices(results.rows)
    check = FileCheck(
        file=str(path),
        revision=results.version,
        rows=read,
        unread=len(results.rows) - read + len(results.problems),
        architectures=architectures,
        compute_units=units,
        collisions=sum(len({row.solution_index for row in rows}) > 1 for rows in found.values() if len(rows) > 1),
    )
    check.warnings += [str(problem) for problem in results.problems[:_MOST_NAMED]]
    check.warnings += [
        f"{path}:{row.line}: {reason}; the row is passed over" for row, reason in passed_over[:_MOST_NAMED]
    ]
    if check.collisions:
        check.warnings.append(
            f"{check.collisions} key{'s have' if check.collisions > 1 else ' has'} rows with different kernels: "
            "hipBLASLt can't tell these problems apart, and takes the last row that fits for all of them"
        )
    if not check.rows:
        check.refusals.append(f"{path} has no row that the library reads")
    _compare_build(check, library)
    _compare_shapes(check, found, shapes, generation)
    return check


def _passed_over(rows: Sequence[Row], generation: Generation) -> list[tuple[Row, str]]:
    return [(row, reason) for row in rows if (reason := unread_because(row, generation))]


def _devices(rows: Sequence[Row]) -> tuple[list[str], list[int]]:
    """Architectures and numbers of compute units that the rows are for."""
    found = {(columns.get("gcnArchName", ""), columns.get("CUs", "")) for columns in (row.columns for row in rows)}
    units = {int(text) for _, text in found if text.isdecimal()}
    return sorted({name for name, _ in found if name}), sorted(units - {0})


def _compare_build(check: FileCheck, library: Installed | None) -> None:
    if not check.revision:
        check.refusals.append(f"{check.file} does not say for which build it is; the library would ignore all of it")
    if library is None:
        check.warnings.append("the build of hipBLASLt is not known here, so that it is not compared with the file's")
        return
    if library.version is not None and reader_of(library.version) is None:
        check.refusals.append(
            f"this hipBLASLt (version {library.version}, {library.source}) reads no tuning file: that takes ROCm 6.4"
        )
    if check.revision and check.revision != library.revision:
        check.refusals.append(
            f"{check.file} was made with hipBLASLt build {check.revision}, installed is {library.revision} "
            f"({library.source}): the library would ignore all of its {check.rows} rows. Tune again with stage 2"
        )
    plain = {name.partition(":")[0] for name in check.architectures}
    if library.architecture and plain and library.architecture.partition(":")[0] not in plain:
        check.refusals.append(
            f"{check.file} was made on {', '.join(check.architectures)}, this is {library.architecture}: its numbers "
            "mean other kernels here. Tune again with stage 2"
        )
    units = library.compute_units
    if units is not None and check.compute_units and units not in check.compute_units:
        made = ", ".join(map(str, check.compute_units))
        check.warnings.append(f"made on a GPU with {made} compute units, this one has {units}: kernels may not fit")


def _compare_shapes(
    check: FileCheck, found: Mapping[OverrideKey, Sequence[Row]], shapes: Shapes | None, generation: Generation
) -> None:
    if shapes is None:
        check.warnings.append("no shapes of this experiment are there (stage 1), so that the file's use is not known")
        return
    total = covered = 0
    for gemm, use in shapes.uses.items():
        flops = gemm.flops * use.calls
        total += flops
        if gemm.key(generation) in found:
            covered += flops
            check.covered += 1
    check.shapes, check.flops_covered = len(shapes.uses), covered / (total or 1)
    if not check.covered and check.rows:
        check.refusals.append(
            f"{check.file} has no row for any of the {check.shapes} shapes of this experiment: it is of another model"
        )


def probe(path: Path, shapes: Shapes | None, ask: Ask, *, version: int | None, max_workspace: int) -> Proof:
    """Ask the library for its choice of each problem that has a row. `ask` has the override file in its environment."""
    generation = generation_of(version)
    found = read_results(path).found_by_key(generation)
    gemms = _problems(found, shapes, generation)
    proof = Proof(asked=len(gemms))
    if not gemms:
        proof.reason = "no problem of this experiment has a row"
        return proof
    answer = ask({"do": "choose", "gemms": [gemm.to_json() for gemm in gemms], "max_workspace": max_workspace})
    if isinstance(answer, Failure):
        proof.reason = f"the library could not be asked: {answer.message}"
        return proof
    for gemm, index in zip(gemms, answer["indices"], strict=True):
        if index in {row.solution_index for row in found[gemm.key(generation)]}:
            proof.used += 1
        else:
            proof.missed.append(gemm.title)
    if proof.missed:
        proof.reason = _reason(proof, max_workspace)
    return proof


def _problems(found: Mapping[OverrideKey, Sequence[Row]], shapes: Shapes | None, generation: Generation) -> list[Gemm]:
    """Those of the experiment that the file has; without a dump, those of the file."""
    if shapes is not None:
        return [gemm for gemm, _ in shapes.heaviest() if gemm.key(generation) in found and not gemm.grouped]
    return [rows[0].gemm() for rows in found.values()]


def _reason(proof: Proof, max_workspace: int) -> str:
    if not proof.used:
        return (
            "the library takes no row of it: it may be of another build, or of a generation whose form of the file it "
            "does not read"
        )
    return (
        f"the library refuses a row where its kernel needs more than {max_workspace >> 20} MiB of workspace, or does "
        "not fit the problem (bias, leading dimensions)"
    )


def as_facts(check: FileCheck, proof: Proof | None) -> dict[str, Any]:
    """For tuning.json and the manifest."""
    return {"stage": 3, **asdict(check), "proof": None if proof is None else asdict(proof)}

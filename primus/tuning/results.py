"""Tuning files of hipBLASLt: what HIPBLASLT_TUNING_FILE writes and HIPBLASLT_TUNING_OVERRIDE_FILE reads.

Stage 2 writes and merges them, stage 3 checks them. Damage is found, placed and counted; the good rows are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from primus.errors import MissingError, Origin, PrimusError, Problem
from primus.run import write_text
from primus.tuning.columns import ALIASES, LAYOUTS, Row, expressible, make_row, unread_layout
from primus.tuning.gemm import Gemm, Generation, OverrideKey

VERSION = "Git Version: "

_READERS: tuple[tuple[int, Generation], ...] = ((100_000, "G2"), (1_100, "G1"))
"""The file that a library of at least this version reads. Readers of 2026 take that of G2, too, and what they have
beyond it, names of kernels, is not to be had through the C interface."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Winner:
    """The kernel to use for a problem."""

    gemm: Gemm
    solution_index: int
    microseconds: float
    architecture: str
    """As the device calls it: `gfx942:sramecc+:xnack-`."""

    compute_units: int
    weight: float = 0.0
    """Time that training spends with it, in any unit. Of problems with the same key, the heaviest is served."""

    name: str = ""
    """Of the kernel or solution; the readers of 2026 check it."""

    rotating_megabytes: int = 512
    flushed: bool = True
    """The instruction cache was flushed between runs."""

    device_timer: bool = False


@dataclass(kw_only=True, slots=True)
class Results:
    """A tuning file as it was read."""

    path: Path
    version: str = ""
    """Git revision of the library that it was made with; empty when the file does not say it."""

    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Everything that is damaged, by line."""

    def found_by_key(self, generation: Generation) -> dict[OverrideKey, list[Row]]:
        """The rows that a reader of that generation uses, by key; of several it tries the first here first."""
        found: defaultdict[OverrideKey, list[Row]] = defaultdict(list)
        for row in reversed(self.rows):
            if unread_because(row, generation) is None:
                found[row.key._replace(b_type="") if generation == "G0" else row.key].append(row)
        return dict(found)


def read_results(path: Path) -> Results:
    """Read a tuning file of any generation. Raises when it is missing or no text; damaged rows are in `problems`."""
    results = Results(path=path)
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; stage 2 of `primus tune` writes it") from None
    except UnicodeDecodeError:
        raise PrimusError(f"{path}: this is not a text file") from None
    lines = text.split("\n")
    unfinished = lines.pop()
    if lines and lines[0].startswith(VERSION):
        results.version = lines[0].removeprefix(VERSION).strip()
    else:
        _report(results, 1, f"the first line must be `{VERSION}<revision>`; without it the library ignores the file")
    _read_rows(results, lines)
    if unfinished.strip():
        _report(results, len(lines) + 1, "the file ends in the middle of this line; it is left out")
    return results


def reader_of(version: int) -> Generation | None:
    """The form of the file that a library of this version reads; None for one that reads none."""
    return next((reader for since, reader in _READERS if version >= since), None)


def unread_because(row: Row, generation: Generation) -> str | None:
    """Why the library's reader of that generation passes a row over; None when it takes it."""
    if row.solution_index == 0 and generation != "G4":
        return "it takes no solution 0"
    if generation in ("G2", "G3") and not row.has_header:
        return "the names of the columns must stand in the line before"
    return unread_layout(row.names, generation)


def rows_of(winners: Iterable[Winner], generation: Generation) -> tuple[list[Row], list[str]]:
    """Rows for a reader of that generation, the heaviest problem last, and what a user should know about them."""
    rows, notes, serves = [], [], defaultdict(list)
    for winner in sorted(winners, key=lambda each: (each.weight, repr(each.gemm))):
        row = _row(winner, generation)
        reason = "its groups can't be told from the file" if winner.gemm.grouped else unread_because(row, generation)
        if reason:
            notes.append(f"{winner.gemm.title}: not written for the reader of {generation}: {reason}")
            continue
        rows.append(row)
        serves[winner.gemm.key(generation)].append(winner)
    notes += [
        describe_shared([one.gemm for one in each])
        for each in serves.values()
        if len({one.solution_index for one in each}) > 1
    ]
    return rows, notes


def write_results(path: Path, version: str, rows: Sequence[Row]) -> None:
    """Write rows in their order, each with its header, as the bench does. The file appears whole or not at all."""
    if not version or "\n" in version:
        raise ValueError("the library's git revision must be one line")
    lines = [f"{VERSION}{version}"]
    for row in rows:
        lines += [f"    {','.join(row.names)}", f"    {','.join(row.values)}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(lines) + "\n")


def merge_results(parts: Sequence[Results], calls: Mapping[Gemm, int] | None = None) -> tuple[list[Row], list[str]]:
    """The fastest row of each problem, the heaviest problem last, and notes on rows that share a key.

    `calls` weighs problems, by how often training calls them; without it, all count the same. Raises PrimusError
    when the files were made with different builds.
    """
    versions = {part.version: part.path for part in parts}
    if len(versions) > 1:
        made = ", ".join(f"{path} with {version or 'no version'}" for version, path in versions.items())
        raise PrimusError(f"results of different hipBLASLt builds can't be merged, their numbers mean others: {made}")
    weights: defaultdict[Gemm, int] = defaultdict(int)
    for gemm, count in (calls or {}).items():
        weights[expressible(gemm)] += count
    best: dict[Gemm, Row] = {}
    for part in parts:
        for row in part.rows:
            gemm = _gemm_of(row, part.path)
            if gemm not in best or _time(row) < _time(best[gemm]):
                best[gemm] = row
    ordered = sorted(best.items(), key=lambda each: (_time(each[1]) * weights.get(each[0], not calls), repr(each[0])))
    sharing: defaultdict[OverrideKey, list[tuple[Gemm, Row]]] = defaultdict(list)
    for gemm, row in ordered:
        sharing[row.key].append((gemm, row))
    notes = [
        describe_shared([gemm for gemm, _ in each])
        for each in sharing.values()
        if len({row.solution_index for _, row in each}) > 1
    ]
    return [row for _, row in ordered], notes


def describe_shared(gemms: Sequence[Gemm], *, served: bool = True) -> str:
    """What a user should know of problems with one key; the last one is the heaviest, and has a row when `served`."""
    differing = "; ".join(_apart(gemm, gemms[-1]) for gemm in gemms[:-1])
    if not served:
        fate = "none of them gets a row, since the heaviest does best with the library's own choice"
    else:
        fate = "all of them get the kernel of the heaviest, where that fits"
    return f"{gemms[-1].title}: {len(gemms)} problems that hipBLASLt can't tell apart by its file; {fate} ({differing})"


def _report(results: Results, line: int, message: str) -> None:
    results.problems.append(Problem(where=Origin(kind="file", name=str(results.path), line=line), message=message))


def _read_rows(results: Results, lines: Sequence[str]) -> None:
    names: tuple[str, ...] = ()
    header = ""
    """The text of the last header."""

    fresh = 0
    """The line of a header whose values have not come yet."""

    for number, line in enumerate(lines, start=1):
        text = line.strip()
        values = () if text == header else tuple(text.split(","))
        if (text == header and text) or "transA" in values:
            if fresh:
                _report(results, fresh, _NO_VALUES)
            if text != header:
                names = tuple(ALIASES.get(name, name) for name in values)
            header, fresh = text, number
        elif text.startswith(VERSION):
            if number > 1:
                _report(results, number, "a second version line; it is left out")
        elif text:
            _read_values(results, number, values, names, has_header=bool(fresh))
            fresh = 0
    if fresh:
        _report(results, fresh, _NO_VALUES)


_NO_VALUES = "the values that belong to this header are missing"


def _read_values(
    results: Results, number: int, values: tuple[str, ...], names: tuple[str, ...], *, has_header: bool
) -> None:
    if not has_header and len(names) != len(values):
        names = next((each for each in LAYOUTS.values() if len(each) == len(values)), ())
    if not names:
        _report(results, number, f"this is no row: {','.join(values)[:60]!r}")
    elif len(names) != len(values):
        _report(results, number, f"{len(values)} values for {len(names)} columns; the row is left out")
    else:
        try:
            results.rows.append(make_row(names, values, line=number, has_header=has_header))
        except ValueError as error:
            _report(results, number, f"{error}; the row is left out")


def _row(winner: Winner, generation: Generation) -> Row:
    values = _values(winner)
    return make_row(LAYOUTS[generation], tuple(values[name] for name in LAYOUTS[generation]))


def _values(winner: Winner) -> dict[str, str]:
    """Every column of every generation."""
    gemm, size = winner.gemm, winner.gemm.size
    seconds = winner.microseconds / 1e6
    values: dict[str, object] = {
        "transA": gemm.trans_a,
        "transB": gemm.trans_b,
        "grouped_gemm": int(gemm.grouped),
        "batch_count": gemm.batch,
        **{name: getattr(size, name) for name in ("m", "n", "k", "lda", "ldb", "ldc", "ldd")},
        **{f"stride_{name}": getattr(size, f"stride_{name}") for name in "abcd"},
        "alpha": f"{gemm.alpha:g}",
        "beta": f"{gemm.beta:g}",
        **{name: getattr(gemm, name) for name in ("a_type", "b_type", "c_type", "d_type", "compute_type")},
        "scaleA": gemm.scale_a,
        "scaleB": gemm.scale_b,
        "scaleC": int(gemm.scale_c),
        "scaleD": int(gemm.scale_d),
        "amaxD": int(gemm.amax_d),
        "swizzle_a": int(gemm.swizzle_a),
        "swizzle_b": int(gemm.swizzle_b),
        "activation_type": gemm.activation,
        "bias_vector": int(gemm.bias_vector),
        "bias_type": gemm.bias_type or gemm.d_type,
        "aux_type": gemm.aux_type or gemm.d_type,
        "rotating_buffer": winner.rotating_megabytes,
        "flush": int(winner.flushed),
        "use_gpu_timer": int(winner.device_timer),
        "hipblaslt-Gflops": f"{gemm.flops / seconds / 1e9:g}",
        "hipblaslt-GB/s": f"{gemm.bytes / seconds / 1e9:g}",
        "us": f"{winner.microseconds:g}",
        "solution_index": winner.solution_index,
        "gcnArchName": winner.architecture,
        "CUs": winner.compute_units,
        "kernel_name": winner.name,
        "solution_name": winner.name,
    }
    return {name: str(value) for name, value in values.items()}


def _apart(gemm: Gemm, other: Gemm) -> str:
    names = [name for name in Gemm.__dataclass_fields__ if getattr(gemm, name) != getattr(other, name)]
    return ", ".join(
        "leading dimensions or strides" if name == "sizes" else f"{name} {getattr(gemm, name)}" for name in names
    )


def _gemm_of(row: Row, path: Path) -> Gemm:
    try:
        return row.gemm()
    except (KeyError, ValueError) as error:
        raise PrimusError(f"{path}:{row.line}: this row's problem can't be read: {error}") from None


def _time(row: Row) -> float:
    return row.microseconds or float("inf")

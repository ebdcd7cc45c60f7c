"""What hipblaslt-bench prints, and what its end means. bench.py asks; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from primus.tuning.measure_process import Failure
from primus.tuning.options import Bench

MARKS: dict[Bench, str] = {Bench.L26: "--batch_mode", Bench.H25: "--skip_slow_solution_ratio"}
"""An option in the help of each generation that older ones do not have, the newest first."""

REASONS: tuple[tuple[str, str], ...] = (
    (r"no solution found", "no-solution"),
    (r"out of memory|HIPBLAS_STATUS_ALLOC_FAILED", "out-of-memory"),
    (r"no ROCm-capable device|invalid device ordinal|hipErrorNoDevice", "no-device"),
    (r"memory access fault|illegal (memory )?(access|address)|launch failure|\(7(00|19)\) at ", "device-fault"),
    (r"HIPBLAS_STATUS_(NOT_SUPPORTED|ARCH_MISMATCH)", "unsupported"),
    (r"hipBLASLt status error", "library"),
    (r"^error: .* \(\d+\) at ", "hip"),
    (r"is not defined|invalid value|needs a value|must be equal|needs? transA", "unsupported"),
)
"""Texts of a bench that fails, each with the kind of failure; the first that is found counts."""

REFUSED = 255
"""Status of a bench that does not know an option or a value."""

_TEXT_BYTES = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One row: a solution and its time."""

    columns: Mapping[str, str]
    index: int | None
    """The solution; None when neither the row nor a line below it says."""

    @property
    def microseconds(self) -> float:
        return float(self.columns["us"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What is said before anything is run."""

    revision: str
    architecture: str
    devices: int


def generation_of(help_text: str) -> Bench:
    words = set(re.findall(r"--[A-Za-z]\w*", help_text))
    return next((generation for generation, option in MARKS.items() if option in words), Bench.H24)


def read_head(text: str) -> Head | None:
    """None when it did not come so far: there is no GPU."""
    devices = re.search(r"there are (\d+) devices", text)
    revision = re.search(r"^hipBLASLt git version: (\S+)", text, re.MULTILINE)
    first = re.search(r"^Device ID 0 : .*?(gfx\S+)\s*$", text, re.MULTILINE)
    if not devices or not revision:
        return None
    return Head(revision=revision[1], architecture=first[1] if first else "", devices=int(devices[1]))


def solutions_of(text: str) -> int:
    """How many solutions support the problem."""
    found = re.search(r"^Is supported (\d+) ", text, re.MULTILINE)
    return int(found[1]) if found else 0


def read_rows(lines: Iterable[str]) -> Iterator[Measured]:
    """Every measured solution, and then the winner's row once more when there are several."""
    header: list[str] = []
    columns: dict[str, str] = {}
    for line in lines:
        text = line.strip()
        if header:
            columns = dict(zip(header, text.split(","), strict=False))
            header = []
            if "solution_index" in columns:
                yield from _measured(columns, columns["solution_index"])
                columns = {}
        elif text.startswith(("[", "transA,")) and "transA," in text:
            yield from _measured(columns, "")
            header = text[text.index("transA,") :].split(",")
        elif text.startswith("--Solution index:"):
            yield from _measured(columns, text.partition(":")[2].strip())
            columns = {}
    yield from _measured(columns, "")


def _measured(columns: Mapping[str, str], index: str) -> Iterator[Measured]:
    try:
        if float(columns.get("us", "")) > 0:
            yield Measured(columns=columns, index=int(index) if index.isdecimal() else None)
    except ValueError:  # a row that another text has cut
        return


def failure(status: int | None, text: str, *, doing: str, limit: float) -> Failure:
    """Why a run gave nothing: by its status, None when time was up, and the end of its output."""
    if status is None:
        return Failure(
            kind="timeout", message=f"hipblaslt-bench was {doing} when the {limit:g} s for a shape were over"
        )
    kind, line = _reason(text)
    if status == REFUSED:
        kind = "unsupported"
    elif not kind:
        kind = "crashed" if status < 0 or status > 128 else "no-row" if status == 0 else "library"
    ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    said = f": {line}" if line else ""
    crashed = status < 0 or status in (134, 139)
    return Failure(kind=kind, message=f"hipblaslt-bench {ended} while {doing}{said}", crashed=crashed)


def _reason(text: str) -> tuple[str, str]:
    for pattern, kind in REASONS:
        if found := re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
            start = text.rfind("\n", 0, found.start()) + 1
            return kind, text[start:].partition("\n")[0].strip()[:_TEXT_BYTES]
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")]
    return "", lines[-1][:_TEXT_BYTES] if lines and "," not in lines[-1] else ""

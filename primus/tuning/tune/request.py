"""What stage 2 is asked for and what comes of it. commands/tune makes the one and reads the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

EngineName = Literal["auto", "bench", "library"]
Also = Literal["te", "tunableop"]

DEFAULT_WORKSPACE = 64 << 20
"""Bytes. Transformer Engine gives its GEMMs so much, and no trainer gives less: a kernel that needs more is refused in
training without a word, so the limit must not be above the trainer's."""

DEFAULT_TIME_LIMIT = 900.0

RESULTS_NAME = "tune_hipblas_gemm_results.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneRequest:
    """One run of stage 2, on this machine."""

    shapes: Path
    """gemm_shapes.jsonl of stage 1."""

    results: Path
    """The tuning file to write; journal, logs and report.json lie beside it."""

    engine: EngineName = "auto"

    gpus: int | None = None
    """Use so many of the visible GPUs; None for all."""

    time_limit: float = DEFAULT_TIME_LIMIT
    """Seconds for one shape."""

    max_workspace: int = DEFAULT_WORKSPACE
    """Bytes that training gives to a GEMM."""

    also: frozenset[Also] = frozenset()
    """Further files of the same winners: for Transformer Engine, for PyTorch's TunableOp."""

    fresh: bool = False
    """Set the results of before aside and begin anew."""

    rocm: Path | None = None
    """A ROCm installation to use instead of the one that is found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How it ended."""

    results: Path
    """The tuning file; it is there when `kept` is above 0."""

    report: Path
    """report.json."""

    kept: int
    """Shapes with a faster kernel: rows of the tuning file."""

    same: int
    """Shapes for which the library's own choice is the fastest, by what can be measured."""

    failed: int
    """Shapes that could not be tuned."""

    left: int = 0
    """Shapes that were not begun: it was stopped, or ran out of GPUs or of space."""

    status: int
    """What the command leaves with: 0, 6 when some shapes failed or are left, 128+N after a signal."""

    messages: tuple[str, ...] = ()
    """For the user, in this order: what ended it early, rows that share a key, where things are."""

    details: dict[str, Any] = field(default_factory=dict)
    """report.json as it was written."""

"""Columns of hipBLASLt's tuning files by generation, and one row of such a file. results.py reads and writes files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from typing import Any

from primus.tuning.gemm import Gemm, Generation, OverrideKey
from primus.tuning.options import COMPUTE_TYPES, TYPES

_PROBLEM = (
    *("transA", "transB", "grouped_gemm", "batch_count", "m", "n", "k", "alpha", "lda", "stride_a", "beta", "ldb"),
    *("stride_b", "ldc", "stride_c", "ldd", "stride_d", "a_type", "b_type", "c_type", "d_type", "compute_type"),
    *("scaleA", "scaleB", "scaleC", "scaleD", "amaxD"),
)
_OLD = (*_PROBLEM, "activation_type", "bias_vector", "bias_type", "rotating_buffer")
_NEW = (*_PROBLEM, "swizzle_a", "swizzle_b", "activation_type", "bias_vector", "bias_type", "aux_type")
_MEASURED = ("hipblaslt-Gflops", "hipblaslt-GB/s", "us", "solution_index", "gcnArchName", "CUs")

LAYOUTS: dict[Generation, tuple[str, ...]] = {
    "G0": (*_OLD, "hipblaslt-Gflops", "us", "solution_index"),
    "G1": (*_OLD, *_MEASURED),
    "G2": (*_NEW, "rotating_buffer", "flush", "use_gpu_timer", *_MEASURED),
    "G3": (*_NEW, "rotating_buffer", "flush", "use_gpu_timer", *_MEASURED, "solution_name"),
    "G4": (*_NEW, "rotating_buffer", "flush", "use_gpu_timer", *_MEASURED, "kernel_name"),
}
"""The columns that the bench of each generation writes: 34, 37, 42, 43 and 43 of them."""

ORDER = ("transA", "transB", "batch_count", "m", "n", "k", "a_type", "b_type", "c_type", "compute_type")
"""What a row is found by; the reader of G2 needs the names in this order, then solution_index."""

ALIASES = {"soulution_index": "solution_index"}
"""A misspelling of the first releases."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One tuned problem of a file. Reading checks `key` and `solution_index`; the rest is as it stands there."""

    names: tuple[str, ...]
    """Of its columns."""

    values: tuple[str, ...]
    key: OverrideKey
    solution_index: int
    line: int = 0
    """In its file; 0 for a row that was not read from one."""

    has_header: bool = True
    """The line before names its columns."""

    @property
    def columns(self) -> dict[str, str]:
        """Values by name, in their order."""
        return dict(zip(self.names, self.values, strict=True))

    @property
    def schema(self) -> int:
        """0 for a row of the bench, 1 for one of the library's own tuner, which tells far more problems apart."""
        return int(self.columns.get("schema_version", "0") or 0)

    @property
    def microseconds(self) -> float | None:
        try:
            return float(self.columns["us"])
        except (KeyError, ValueError):
            return None

    @property
    def architecture(self) -> str:
        """For instance `gfx942:sramecc+:xnack-`; empty when the row does not say it."""
        return self._value("gcnArchName")

    @property
    def compute_units(self) -> int | None:
        units = self._value("CUs")
        return int(units) if units.isdecimal() else None

    def _value(self, name: str) -> str:
        """Of one column; empty when there is none. Files have thousands of rows, and one set of names."""
        place = _place(self.names, name)
        return "" if place is None else self.values[place]

    def gemm(self) -> Gemm:
        """The problem as far as a row can say it; compare with `expressible`. Raises ValueError for a wrong value."""
        return _gemm(self.columns)


def expressible(gemm: Gemm) -> Gemm:
    """The problem without what no row says: gradients, auxiliary matrix, bias source, amax scales, complex factors."""
    never: dict[str, Any] = {
        **dict.fromkeys(("gradient", "use_e", "scale_alpha_vector", "amax_scale_a", "amax_scale_b"), False),
        **dict.fromkeys(("scale_type", "compute_input_a", "compute_input_b", "aux_type", "bias_source"), ""),
        **dict.fromkeys(("batch_mode", "bias_stride"), 0),
        **dict.fromkeys(("alpha_imaginary", "beta_imaginary", "activation_arg1"), 0.0),
        "activation_arg2": inf,
        "extra": (),
    }
    # Factors are written with six digits.
    return replace(gemm, **never, alpha=float(f"{gemm.alpha:g}"), beta=float(f"{gemm.beta:g}"))


def make_row(names: tuple[str, ...], values: tuple[str, ...], *, line: int = 0, has_header: bool = True) -> Row:
    """A row of as many values as names. Raises ValueError with what is missing or wrong."""
    found = [values[place] for place in _places(names)]
    trans_a, trans_b, batch, m, n, k, a_type, b_type, c_type, compute_type, index = found
    for name, text in (("batch_count", batch), ("m", m), ("n", n), ("k", k), ("solution_index", index)):
        if not text.isdecimal():
            raise ValueError(f"{name} {text!r} is not a whole number")
    try:
        key = OverrideKey(
            _TRANSPOSES[trans_a],
            _TRANSPOSES[trans_b],
            int(batch),
            int(m),
            int(n),
            int(k),
            TYPES[a_type],
            TYPES[b_type],
            TYPES[c_type],
            COMPUTE_TYPES[compute_type],
        )
    except KeyError as error:
        raise ValueError(f"{error} is no transpose or type that is known") from None
    return Row(names=names, values=values, key=key, solution_index=int(index), line=line, has_header=has_header)


_TRANSPOSES = {"N": "N", "T": "T", "C": "C"}


@cache
def _place(names: tuple[str, ...], name: str) -> int | None:
    return names.index(name) if name in names else None


@cache
def _places(names: tuple[str, ...]) -> tuple[int, ...]:
    """Where the columns stand that every row must have."""
    wanted = (*ORDER, "solution_index")
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(f"no column {', '.join(missing)}")
    return tuple(names.index(name) for name in wanted)


@cache
def unread_layout(names: tuple[str, ...], generation: Generation) -> str | None:
    """Why the library's reader of that generation passes over all rows with these columns; None when it does not."""
    if generation in ("G0", "G1") and len(names) != len(LAYOUTS[generation]):
        return f"it reads rows of {len(LAYOUTS[generation])} columns, not {len(names)}"
    if "schema_version" in names and generation != "G4":
        return "it does not know rows of the library's own tuner, which have a schema version"
    if generation in ("G2", "G3") and list(_places(names)) != sorted(_places(names)):
        return "its columns are in another order"
    return None


def _gemm(columns: Mapping[str, str]) -> Gemm:
    """Absent columns are those of an older generation, in which the problem had not what they say."""

    def flag(name: str) -> bool:
        return columns.get(name, "0") not in ("0", "", "false")

    size = {name: columns.get(name, "") for name in ("lda", "ldb", "ldc", "ldd")}
    strides = {name: columns.get(name, "") for name in ("stride_a", "stride_b", "stride_c", "stride_d")}
    types: dict[str, Any] = {name: TYPES[columns[name]] for name in ("a_type", "b_type", "c_type")}
    bias = TYPES.get(columns.get("bias_type", ""), "")
    return Gemm.single(
        **{name: int(columns[name]) for name in ("m", "n", "k")},
        **{name: int(text) for name, text in {**size, **strides}.items() if text.isdecimal()},
        trans_a=columns["transA"],
        trans_b=columns["transB"],
        grouped=flag("grouped_gemm"),
        batch=int(columns["batch_count"]),
        alpha=float(columns.get("alpha", "1")),
        beta=float(columns.get("beta", "0")),
        **types,
        d_type=TYPES.get(columns.get("d_type", ""), ""),
        compute_type=COMPUTE_TYPES[columns["compute_type"]],
        scale_a=int(columns.get("scaleA", "0") or 0),
        scale_b=int(columns.get("scaleB", "0") or 0),
        scale_c=flag("scaleC"),
        scale_d=flag("scaleD"),
        amax_d=flag("amaxD"),
        swizzle_a=flag("swizzle_a"),
        swizzle_b=flag("swizzle_b"),
        activation=columns.get("activation_type", "none"),
        bias_vector=flag("bias_vector"),
        bias_type=bias,
    )

"""One matrix multiplication problem of hipBLASLt, by meaning: D = act(alpha·op(A)·op(B) + beta·C + bias), column-major.

Two log lines of different library generations with the same meaning make equal Gemms. Everything in tuning/ uses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple

from primus.tuning.options import BITS, NEWEST_SCALE, OLD_SCALES, OPTIONS, Bench, Option

Generation = Literal["G0", "G1", "G2", "G3", "G4"]
"""Generations of the tuning file, by its reader in the library."""


class OverrideKey(NamedTuple):
    """What the library's reader of tuning files tells problems apart by. Far less than a whole problem."""

    trans_a: str
    trans_b: str
    batch: int
    m: int
    n: int
    k: int
    a_type: str
    b_type: str
    """Empty for G0, which does not look at it."""

    c_type: str
    compute_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """The sizes of one multiplication: a Gemm has one, or one for each group."""

    m: int
    """Rows of D."""

    n: int
    """Columns of D."""

    k: int
    lda: int = 0
    """Leading dimensions; those that are too small are raised to the least that is possible, as the bench does."""

    ldb: int = 0
    ldc: int = 0
    ldd: int = 0
    lde: int = 0
    """Of the epilogue's auxiliary matrix; 0 without use_e."""

    stride_a: int | None = None
    """Elements from one batch to the next; None for the least. 0 when there is one batch."""

    stride_b: int | None = None
    stride_c: int | None = None
    stride_d: int | None = None
    stride_e: int | None = None

    def __post_init__(self) -> None:
        if min(self.m, self.n, self.k) < 0 or not self.m or not self.n:
            raise ValueError(f"m and n must be at least 1, k at least 0, not {self.m}, {self.n}, {self.k}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gemm:
    """A problem. Values that mean the same are made equal when it is built, so that `==` and `hash` go by meaning."""

    sizes: tuple[Size, ...]
    """One, or one for each group of a grouped multiplication, in their order."""

    grouped: bool = False
    trans_a: str = "N"
    """N, T or C (conjugated)."""

    trans_b: str = "N"
    batch: int = 1
    batch_mode: int = 0
    """0 one stride between batches, 1 an array of pointers."""

    alpha: float = 1.0
    beta: float = 0.0
    alpha_imaginary: float = 0.0
    beta_imaginary: float = 0.0
    a_type: str
    """Data types as the bench spells them, for instance bf16_r. `f8_r` is also logged for FNUZ types."""

    b_type: str = ""
    """Empty for that of A."""

    c_type: str = ""
    """Empty for that of A."""

    d_type: str = ""
    """Empty for that of C."""

    compute_type: str = "f32_r"
    compute_input_a: str = ""
    """Type that A is converted to before multiplying; empty for none."""

    compute_input_b: str = ""
    scale_type: str = ""
    """Of alpha and beta; empty for the one that goes with compute_type."""

    scale_a: int = 0
    """0 none, 1 scalar, 2 vector, 3 and more by blocks."""

    scale_b: int = 0
    scale_c: bool = False
    scale_d: bool = False
    scale_alpha_vector: bool = False
    amax_scale_a: bool = False
    amax_scale_b: bool = False
    amax_d: bool = False
    swizzle_a: bool = False
    swizzle_b: bool = False
    gradient: bool = False
    use_e: bool = False
    """The epilogue reads (gradient) or writes an auxiliary matrix E."""

    aux_type: str = ""
    """Of E; empty for that of D, or without use_e."""

    bias_vector: bool = False
    bias_source: str = ""
    """Matrix along which the bias lies: a, b or d; empty without bias."""

    bias_type: str = ""
    """Empty for that of D, or without bias."""

    bias_stride: int = 0
    activation: str = "none"
    activation_arg1: float = 0.0
    activation_arg2: float = math.inf
    extra: tuple[tuple[str, ...], ...] = ()
    """Options that are not known here, each with its values: part of the problem, and passed on as they are."""

    def __post_init__(self) -> None:
        if not self.sizes or (len(self.sizes) > 1 and not self.grouped):
            raise ValueError("several sizes need grouped, and there must be one")
        if self.batch < 1:
            raise ValueError(f"the batch count must be at least 1, not {self.batch}")
        if any(math.isnan(value) for value in (self.alpha, self.beta, self.alpha_imaginary, self.beta_imaginary)):
            raise ValueError("alpha and beta must be numbers")
        for name, value in _normalised(self).items():
            object.__setattr__(self, name, value)

    @classmethod
    def single(cls, *, m: int, n: int, k: int, **others: Any) -> Gemm:
        """A problem with one size; `others` are further fields of Gemm and Size."""
        size = {name: others.pop(name) for name in _SIZE_FIELDS if name in others}
        return cls(sizes=(Size(m=m, n=n, k=k, **size),), **others)

    @property
    def m(self) -> int:
        """Of the first group, as are the next two."""
        return self.sizes[0].m

    @property
    def n(self) -> int:
        return self.sizes[0].n

    @property
    def k(self) -> int:
        return self.sizes[0].k

    @property
    def size(self) -> Size:
        """The first, and the only one unless grouped."""
        return self.sizes[0]

    @property
    def any_stride(self) -> bool:
        """A stride is below the least at which matrices of a batch do not overlap."""
        return self.batch > 1 and any(
            getattr(size, name) < least for size in self.sizes for name, least in _least_strides(self, size).items()
        )

    @property
    def flops(self) -> int:
        return sum(2 * size.m * size.n * size.k for size in self.sizes) * self.batch

    @property
    def bytes(self) -> int:
        """What has to be read and written at least. C is read when beta is not zero."""
        bits = 0
        for size in self.sizes:
            bits += size.m * size.k * BITS[self.a_type] + size.k * size.n * BITS[self.b_type]
            bits += size.m * size.n * (BITS[self.d_type] + (BITS[self.c_type] if self.reads_c else 0))
            bits += size.m * size.n * BITS[self.aux_type] if self.use_e else 0
        return -(-bits * self.batch // 8)

    @property
    def reads_c(self) -> bool:
        return bool(self.beta or self.beta_imaginary)

    @property
    def title(self) -> str:
        """Short, for tables: `TN 4096×24576×1024 bf16_r`."""
        sizes = "+".join(f"{size.m}×{size.n}×{size.k}" for size in self.sizes[:2])
        sizes += f"+{len(self.sizes) - 2} more" if len(self.sizes) > 2 else ""
        types = [self.a_type, *([self.b_type] if self.b_type != self.a_type else [])]
        types += [f"→{self.d_type}"] if self.d_type != self.a_type else []
        return f"{self.trans_a}{self.trans_b} {sizes}{f' ×{self.batch}' if self.batch > 1 else ''} {' '.join(types)}"

    def key(self, generation: Generation) -> OverrideKey:
        """What a tuning file's row for this problem is found by; a grouped problem's by its first group."""
        return OverrideKey(
            trans_a=self.trans_a,
            trans_b=self.trans_b,
            batch=self.batch,
            m=self.m,
            n=self.n,
            k=self.k,
            a_type=self.a_type,
            b_type="" if generation == "G0" else self.b_type,
            c_type=self.c_type,
            compute_type=self.compute_type,
        )

    def to_argv(self, bench: Bench) -> tuple[str, ...]:
        """The options that make this generation of hipblaslt-bench run the problem; see `lost` for what it can't."""
        argv: list[str] = []
        for option in OPTIONS:
            if option.kind != "size" and _says_something(self, option) and option.since <= bench:
                argv += [option.name, *_written(self, option, bench)]
            elif option.name == "-m":
                argv += _written_sizes(self)
        return (*argv, *(word for option in self.extra for word in option))

    def lost(self, bench: Bench) -> tuple[str, ...]:
        """Options that the problem needs and this generation of the bench has not: it would tune another problem."""
        newer = [each.name for each in OPTIONS if each.since > bench and _says_something(self, each)]
        scales = {"--scaleA": self.scale_a, "--scaleB": self.scale_b}
        newer += [f"{name} {mode}" for name, mode in scales.items() if mode > NEWEST_SCALE[bench]]
        return tuple(newer)

    def to_json(self) -> dict[str, Any]:
        """What from_json takes: plain values, without those that a Gemm has anyway."""
        shown = {name: value for name, value in asdict(self).items() if value != _DEFAULTS.get(name)}
        shown["sizes"] = [
            {
                name: value
                for name, value in size.items()
                if value or name == "k" or (shown.get("batch") and "_" in name)
            }
            for size in shown["sizes"]
        ]
        infinite = {name: str(value) for name, value in shown.items() if isinstance(value, float) and math.isinf(value)}
        return shown | infinite

    @classmethod
    def from_json(cls, value: Any) -> Gemm:
        """The problem that to_json described. Raises ValueError when it is none."""
        if not isinstance(value, Mapping) or not isinstance(value.get("sizes"), list):
            raise ValueError("a problem is an object with `sizes`")
        sizes = tuple(Size(**_checked(size, _SIZE_TYPES, required=("m", "n", "k"))) for size in value["sizes"])
        others = {name: each for name, each in value.items() if name != "sizes"}
        return cls(sizes=sizes, **_checked(others, _FIELD_TYPES, required=("a_type",)))


_SIZE_FIELDS = tuple(field.name for field in fields(Size))
_SIZE_TYPES: dict[str, str] = dict.fromkeys(_SIZE_FIELDS, "int")
_FIELD_TYPES: dict[str, str] = {field.name: str(field.type) for field in fields(Gemm) if field.name != "sizes"}
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Gemm)}

_SCALE_TYPES = {"xf32_r": "f32_r", "f32_f16_r": "f32_r", "f32_bf16_r": "f32_r"}
"""Types of alpha and beta that are not the compute type itself."""


def _normalised(gemm: Gemm) -> dict[str, Any]:
    """The fields that mean the same as others, as we write them."""
    b_type, c_type = gemm.b_type or gemm.a_type, gemm.c_type or gemm.a_type
    d_type = gemm.d_type or c_type
    clear = gemm.activation == "none"
    found: dict[str, Any] = {
        "b_type": b_type,
        "c_type": c_type,
        "d_type": d_type,
        "scale_type": gemm.scale_type or _SCALE_TYPES.get(gemm.compute_type, gemm.compute_type),
        "aux_type": (gemm.aux_type or d_type) if gemm.use_e else "",
        "bias_source": (gemm.bias_source or "d") if gemm.bias_vector else "",
        "bias_type": (gemm.bias_type or d_type) if gemm.bias_vector else "",
        "bias_stride": gemm.bias_stride if gemm.bias_vector and gemm.batch > 1 else 0,
        "activation_arg1": 0.0 if clear else float(gemm.activation_arg1),
        "activation_arg2": math.inf if clear else float(gemm.activation_arg2),
        **{name: float(getattr(gemm, name)) + 0.0 for name in ("alpha", "beta", "alpha_imaginary", "beta_imaginary")},
        "extra": tuple(tuple(words) for words in gemm.extra),
    }
    return found | {"sizes": tuple(_complete(gemm, size) for size in gemm.sizes)}


def _complete(gemm: Gemm, size: Size) -> Size:
    """With every leading dimension and stride; what the problem has not is 0."""
    complete = {"m": size.m, "n": size.n, "k": size.k}
    for name, (rows, columns) in _matrices(gemm, size).items():
        used = name != "e" or gemm.use_e
        leading = max(getattr(size, f"ld{name}"), rows, 1) if used else 0
        stride = getattr(size, f"stride_{name}")
        complete[f"ld{name}"] = leading
        complete[f"stride_{name}"] = 0 if gemm.batch == 1 else leading * columns if stride is None else stride
        if not used:
            complete[f"stride_{name}"] = 0
    return Size(**complete)


def _matrices(gemm: Gemm, size: Size) -> dict[str, tuple[int, int]]:
    """Rows and columns of each matrix as it lies in memory."""
    a, b, rest = (size.m, size.k), (size.k, size.n), (size.m, size.n)
    return {
        "a": a if gemm.trans_a == "N" else a[::-1],
        "b": b if gemm.trans_b == "N" else b[::-1],
        "c": rest,
        "d": rest,
        "e": rest,
    }


def _least_strides(gemm: Gemm, size: Size) -> dict[str, int]:
    """The least strides at which no two matrices of a batch overlap."""
    return {
        f"stride_{name}": getattr(size, f"ld{name}") * columns for name, (_, columns) in _matrices(gemm, size).items()
    }


def _says_something(gemm: Gemm, option: Option) -> bool:
    value = getattr(gemm, option.field, None) if option.kind != "size" else None
    return option.always or value != _DEFAULTS.get(option.field, False)


def _written(gemm: Gemm, option: Option, bench: Bench) -> list[str]:
    value = getattr(gemm, option.field)
    match option.kind:
        case "flag":
            return []
        case "switch":
            return ["1"]
        case "scale" if bench == Bench.H24:
            return [OLD_SCALES.get(value, str(value))]
        case "number":
            return [repr(value)]
        case _:
            return [str(value)]


def _written_sizes(gemm: Gemm) -> list[str]:
    """All sizes of one group, then those of the next, as the library logs them."""
    options = [option for option in OPTIONS if option.kind == "size" and (gemm.use_e or option.field[-1] != "e")]
    return [word for size in gemm.sizes for each in options for word in (each.name, str(getattr(size, each.field)))]


_PLAIN = {"int": int, "int | None": int, "bool": bool, "str": str}


def _checked(value: Any, types: Mapping[str, str], *, required: tuple[str, ...]) -> dict[str, Any]:
    """The fields of an object, each of the right type."""
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object, not {value!r}")
    if strange := next((name for name in value if name not in types), None):
        raise ValueError(f"unknown field {strange!r}")
    if missing := next((name for name in required if name not in value), None):
        raise ValueError(f"{missing!r} is missing")
    return {name: _converted(name, each, types[name]) for name, each in value.items()}


def _converted(name: str, value: Any, wanted: str) -> Any:
    if wanted == "float" and (type(value) in (int, float) or value in ("inf", "-inf")):
        return float(value)
    if name == "extra" and isinstance(value, (list, tuple)):
        return tuple(tuple(str(word) for word in words) for words in value)
    if type(value) is not _PLAIN.get(wanted):
        raise ValueError(f"{name!r} must be {wanted}, not {value!r}")
    return value

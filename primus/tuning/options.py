"""The options of hipblaslt-bench that say which problem is meant, as a table. gemm.py prints from it, line.py reads.

Options that say how a problem is run or timed are in RUN_OPTIONS; they are no part of a problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal


class Bench(IntEnum):
    """Generations of hipblaslt-bench by the options that they accept."""

    H24 = 24
    """2024: ROCm 6.3 and older."""

    H25 = 25
    """2025: ROCm 6.4 and 7."""

    L26 = 26
    """2026."""


Kind = Literal["size", "integer", "number", "transpose", "type", "compute", "scale", "switch", "word", "flag"]
"""How a value is written. `size` repeats, once per group; `switch` is a bare word in logs and takes 1 in the bench."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option of the bench, and the field of Gemm (or Size) that it fills."""

    name: str
    field: str
    kind: Kind
    since: Bench = Bench.H24

    always: bool = False
    """Printed also when the value is the field's default."""


def _size(name: str, field: str) -> Option:
    return Option(name=name, field=field, kind="size", always=True)


OPTIONS = (
    Option(name="--grouped_gemm", field="grouped", kind="flag"),
    _size("-m", "m"),
    _size("-n", "n"),
    _size("-k", "k"),
    *(_size(f"--ld{matrix}", f"ld{matrix}") for matrix in "abcde"),
    *(_size(f"--stride_{matrix}", f"stride_{matrix}") for matrix in "abcde"),
    Option(name="--any_stride", field="any_stride", kind="flag"),
    Option(name="--alpha", field="alpha", kind="number", always=True),
    Option(name="--alphai", field="alpha_imaginary", kind="number", since=Bench.L26),
    Option(name="--beta", field="beta", kind="number", always=True),
    Option(name="--betai", field="beta_imaginary", kind="number", since=Bench.L26),
    Option(name="--transA", field="trans_a", kind="transpose", always=True),
    Option(name="--transB", field="trans_b", kind="transpose", always=True),
    Option(name="--batch_count", field="batch", kind="integer", always=True),
    Option(name="--batch_mode", field="batch_mode", kind="integer", since=Bench.L26),
    Option(name="--scaleA", field="scale_a", kind="scale"),
    Option(name="--scaleB", field="scale_b", kind="scale"),
    Option(name="--scaleC", field="scale_c", kind="switch", since=Bench.H25),
    Option(name="--scaleD", field="scale_d", kind="switch", since=Bench.H25),
    Option(name="--swizzleA", field="swizzle_a", kind="flag", since=Bench.H25),
    Option(name="--swizzleB", field="swizzle_b", kind="flag", since=Bench.H25),
    Option(name="--scaleAlpha_vector", field="scale_alpha_vector", kind="flag"),
    Option(name="--amaxScaleA", field="amax_scale_a", kind="flag"),
    Option(name="--amaxScaleB", field="amax_scale_b", kind="flag"),
    Option(name="--amaxD", field="amax_d", kind="flag"),
    Option(name="--gradient", field="gradient", kind="flag"),
    Option(name="--use_e", field="use_e", kind="flag"),
    Option(name="--bias_vector", field="bias_vector", kind="flag"),
    Option(name="--bias_source", field="bias_source", kind="word"),
    Option(name="--bias_stride", field="bias_stride", kind="integer", since=Bench.L26),
    Option(name="--a_type", field="a_type", kind="type", always=True),
    Option(name="--b_type", field="b_type", kind="type", always=True),
    Option(name="--c_type", field="c_type", kind="type", always=True),
    Option(name="--d_type", field="d_type", kind="type", always=True),
    Option(name="--compute_input_typeA", field="compute_input_a", kind="type"),
    Option(name="--compute_input_typeB", field="compute_input_b", kind="type"),
    Option(name="--scale_type", field="scale_type", kind="type", always=True),
    Option(name="--bias_type", field="bias_type", kind="type"),
    Option(name="--aux_type", field="aux_type", kind="type", since=Bench.H25),
    Option(name="--compute_type", field="compute_type", kind="compute", always=True),
    Option(name="--activation_type", field="activation", kind="word"),
    Option(name="--activation_arg1", field="activation_arg1", kind="number"),
    Option(name="--activation_arg2", field="activation_arg2", kind="number"),
)
"""In the order in which the library logs them."""

RUN_OPTIONS = {
    **dict.fromkeys(
        (
            *("--api_method", "--function", "-f", "--algo_method", "--solution_index", "--requested_solution"),
            *("--rotating", "--cold_iters", "-j", "--iters", "-i", "--splitk", "--wgm", "--device", "--workspace"),
            *("--initialization", "--skip_slow_solution_ratio", "--function_filter"),
        ),
        1,
    ),
    **dict.fromkeys(
        (
            *("--flush", "--HMM", "--verify", "-v", "--c_equal_d", "--print_kernel_info", "--use_gpu_timer"),
            *("--log_function_name", "--dump_matrix", "--use_user_args"),
        ),
        0,
    ),
}
"""Options that do not change the problem, with the number of values that they take."""

TYPES = {
    "s": "f32_r",
    "d": "f64_r",
    "h": "f16_r",
    "i": "i32_r",
    "f32_r": "f32_r",
    "f64_r": "f64_r",
    "f16_r": "f16_r",
    "bf16_r": "bf16_r",
    "f8_r": "f8_r",
    "bf8_r": "bf8_r",
    "f8_fnuz_r": "f8_fnuz_r",
    "bf8_fnuz_r": "bf8_fnuz_r",
    "f6_r": "f6_r",
    "bf6_r": "bf6_r",
    "f4_r": "f4_r",
    "i8_r": "i8_r",
    "i32_r": "i32_r",
    "f32_c": "f32_c",
    "f64_c": "f64_c",
}
"""Names of data types, each with the one that we use."""

COMPUTE_TYPES = {
    "s": "f32_r",
    "x": "xf32_r",
    "d": "f64_r",
    "i": "i32_r",
    "f32_r": "f32_r",
    "xf32_r": "xf32_r",
    "f64_r": "f64_r",
    "i32_r": "i32_r",
    "f16_r": "f16_r",
    "f32_f16_r": "f32_f16_r",
    "f32_bf16_r": "f32_bf16_r",
    "f32_c": "f32_c",
    "f64_c": "f64_c",
}

SCALES = {"": 0, "none": 0, "s": 1, "v": 2, "1001": 1001, **{str(mode): mode for mode in range(9)}}
"""Words for the scale modes of A and B: 0 none, 1 scalar, 2 vector, 3 and more by blocks."""

OLD_SCALES = {1: "s", 2: "v"}
"""What a bench of 2024 wants instead of a number."""

NEWEST_SCALE = {Bench.H24: 2, Bench.H25: 3, Bench.L26: 1001}
"""The highest scale mode that each generation knows."""

ACTIVATIONS = ("none", "gelu", "relu", "swish", "clamp", "sigmoid")

BIAS_SOURCES = ("a", "b", "d")

BITS = {
    **{"f64_c": 128, "f64_r": 64, "f32_c": 64, "f32_r": 32, "i32_r": 32, "f16_r": 16, "bf16_r": 16},
    **{"f8_r": 8, "bf8_r": 8, "f8_fnuz_r": 8, "bf8_fnuz_r": 8, "i8_r": 8, "f6_r": 6, "bf6_r": 6, "f4_r": 4},
}
"""Size of an element of each data type."""

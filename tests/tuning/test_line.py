"""Problems are drawn, written as each generation of the library logs them, and read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.tuning.gemm import Gemm, Size
from primus.tuning.line import TornLine, read_command, read_line
from primus.tuning.options import Bench

REAL = {
    # Documentation of 6.4.3 and later.
    "F1": "hipblaslt-bench --api_method c -m 1024 -n 512 -k 1024 --lda 1024 --ldb 1024 --ldc 1024 --ldd 1024  "
    "--stride_a 0 --stride_b 0 --stride_c 0 --stride_d 0  --alpha 1.000000 --beta 1.000000 --transA N --transB N "
    "--batch_count 1  --a_type f16_r --b_type f16_r --c_type f16_r --d_type f16_r --scale_type f32_r "
    "--bias_type f32_r   --compute_type f32_r --algo_method index --solution_index 56073",
    # hipBLASLt#1587, January 2025.
    "F2 fp8": "hipblaslt-bench --api_method c -m 4096 -n 24576 -k 1024 --lda 1024 --ldb 1024 --ldc 4096 --ldd 4096  "
    "--stride_a 0 --stride_b 0 --stride_c 0 --stride_d 0  --alpha 1.000000 --beta 0.000000 --transA T --transB N "
    "--batch_count 1 --scaleA 1 --scaleB 1 --bias_vector --bias_source d --a_type f8_r --b_type f8_r --c_type f16_r "
    "--d_type f16_r --scale_type f32_r --bias_type f16_r   --compute_type f32_r --activation_type none",
    # rocm-libraries#819, July 2025.
    "F2 bias": "hipblaslt-bench --api_method c -m 768 -n 1 -k 25 --lda 25 --ldb 25 --ldc 768 --ldd 768  --stride_a 0 "
    "--stride_b 0 --stride_c 0 --stride_d 0  --alpha 1.000000 --beta 0.000000 --transA T --transB N --batch_count 1 "
    "--scaleA 0 --scaleB 0 --bias_vector --bias_source d --a_type bf16_r --b_type bf16_r --c_type bf16_r "
    "--d_type bf16_r --scale_type f32_r --bias_type bf16_r   --compute_type f32_r --activation_type none",
    "F2 index": "hipblaslt-bench --api_method c -m 48 -n 176 -k 1024 --lda 48 --ldb 176 --ldc 48 --ldd 48  "
    "--stride_a 0 --stride_b 0 --stride_c 0 --stride_d 0  --alpha 1.000000 --beta 0.000000 --transA N --transB T "
    "--batch_count 1 --scaleA 0 --scaleB 0  --a_type bf16_r --b_type bf16_r --c_type bf16_r --d_type bf16_r "
    "--scale_type f32_r --bias_type f32_r   --compute_type f32_r --algo_method index --solution_index 218160 "
    "--activation_type none",
    "F3": "hipblaslt-bench --api_method c -m 1 -n 256 -k 256 --lda 1 --ldb 256 --ldc 1 --ldd 1  --stride_a 0 "
    "--stride_b 0 --stride_c 0 --stride_d 0  --alpha 1.000000 --beta 1.000000 --transA N --transB N --batch_count 1 "
    "--scaleA 0 --scaleB 0  --a_type f32_r --b_type f32_r --c_type f32_r --d_type f32_r --scale_type f32_r "
    "--bias_type f32_r   --compute_type f32_r --algo_method index --solution_index 1214 --activation_type none "
    "--any_stride --rotating 0 --cold_iters 0 --iters 0 ",
}

EXPECTED = {
    "F1": Gemm.single(m=1024, n=512, k=1024, beta=1.0, a_type="f16_r"),
    "F2 fp8": Gemm.single(
        **{"m": 4096, "n": 24576, "k": 1024, "trans_a": "T", "scale_a": 1, "scale_b": 1, "bias_vector": True},
        **{"a_type": "f8_r", "c_type": "f16_r"},
    ),
    "F2 bias": Gemm.single(m=768, n=1, k=25, trans_a="T", bias_vector=True, a_type="bf16_r"),
    "F2 index": Gemm.single(m=48, n=176, k=1024, trans_b="T", a_type="bf16_r"),
    "F3": Gemm.single(m=1, n=256, k=256, beta=1.0, a_type="f32_r"),
}

BASE = REAL["F2 index"]

PROFILE = (
    "- { function: matmul, M: 48, N: 176, K: 1024, lda: 48, ldb: 176, ldc: 48, ldd: 48, stride_a: 0, stride_b: 0, "
    "stride_c: 0, stride_d: 0, alpha: 1, alphai: 0, beta: 0, betai: 0, transA: N, transB: T, batch_count: 1, "
    "batch_mode: 0, scaleA: 0, scaleB: 0, scaleC: 0, scaleD: 0, swizzleA: false, swizzleB: false, "
    "scaleAlpha_vector: false, gradient: false, use_e: false, bias_vector: false, bias_source: d, bias_stride: 0, "
    "a_type: bf16_r, b_type: bf16_r, c_type: bf16_r, d_type: bf16_r, scale_type: f32_r, bias_type: f32_r, "
    "aux_type: bf16_r, compute_type: c_f32_r, algo_method: 2, solution_index: 218160, activation_type: none, "
    "flush: false, any_stride: true, rotating: 0, cold_iters: 0, iters: 0, call_count: 12 }"
)


def read(text: str) -> Gemm:
    entry = read_line(text.encode())
    assert entry is not None
    return entry.gemm


@pytest.mark.parametrize("name", REAL)
def test_a_real_line_is_read(name):
    assert read(REAL[name]) == EXPECTED[name]


FLAGS = (
    *("bias_vector", "use_e", "gradient", "scale_alpha_vector", "swizzle_a", "swizzle_b", "scale_c", "scale_d"),
    *("amax_d", "amax_scale_a", "amax_scale_b"),
)


@st.composite
def gemms(draw: st.DrawFn) -> Gemm:
    grouped = draw(st.booleans())
    batch = draw(st.sampled_from((1, 1, 3)))
    use_e = draw(st.booleans())
    small, stride = st.integers(1, 300), st.none() | st.integers(0, 10**6)
    sizes = tuple(
        Size(
            **{name: draw(small) for name in ("m", "n", "k")},
            **{f"ld{name}": draw(st.integers(0, 500)) for name in "abcde"},
            **{f"stride_{name}": draw(stride) for name in "abcde"},
        )
        for _ in range(draw(st.integers(1, 3)) if grouped else 1)
    )
    number = st.floats(allow_nan=False, allow_infinity=False, width=32)
    types = st.sampled_from(("f32_r", "f16_r", "bf16_r", "f8_r", "bf8_fnuz_r", "f4_r", "i8_r"))
    activation = draw(st.sampled_from(("none", "gelu", "relu", "clamp")))
    return Gemm(
        sizes=sizes,
        grouped=grouped,
        batch=batch,
        batch_mode=draw(st.sampled_from((0, 1))),
        trans_a=draw(st.sampled_from("NTC")),
        trans_b=draw(st.sampled_from("NTC")),
        **{name: draw(number) for name in ("alpha", "beta", "alpha_imaginary", "beta_imaginary")},
        **{name: draw(types) for name in ("a_type", "b_type", "c_type", "d_type", "bias_type", "aux_type")},
        compute_type=draw(st.sampled_from(("f32_r", "xf32_r", "f32_bf16_r", "i32_r"))),
        scale_type=draw(st.sampled_from(("", "f32_r", "f16_r"))),
        scale_a=draw(st.sampled_from((0, 1, 2, 3, 1001))),
        scale_b=draw(st.integers(0, 8)),
        **({name: draw(st.booleans()) for name in FLAGS} | {"use_e": use_e}),
        bias_source=draw(st.sampled_from(("a", "b", "d"))),
        bias_stride=draw(st.integers(0, 9)),
        activation=activation,
        activation_arg1=draw(number),
        activation_arg2=draw(st.just(math.inf) | number),
        extra=draw(st.sampled_from(((), (("--brand_new", "-3.5"),), (("--other",), ("--brand_new", "x", "y"))))),
    )


@given(gemms())
def test_the_printed_command_is_the_same_problem(gemm):
    assert read_command(gemm.to_argv(Bench.L26)) == gemm


@given(gemms(), st.sampled_from((Bench.H24, Bench.H25)))
def test_an_older_bench_gets_the_same_problem_unless_something_is_lost(gemm, bench):
    again = read_command(gemm.to_argv(bench))
    assert again == gemm or gemm.lost(bench)


@given(gemms())
def test_json_keeps_a_problem(gemm):
    assert Gemm.from_json(gemm.to_json()) == gemm


@given(gemms(), st.sampled_from(("F1", "F2", "F3", "F4")))
def test_a_line_of_every_generation_is_the_problem_that_it_was_written_from(gemm, generation):
    gemm = sayable(gemm, generation)
    assert read(logged(gemm, generation)) == gemm


def sayable(gemm: Gemm, generation: str) -> Gemm:
    """The problem without what no line of that generation says."""
    from dataclasses import replace

    never = {"extra": (), "amax_d": False, "amax_scale_a": False, "amax_scale_b": False, "activation_arg1": 0.0}
    gemm = replace(gemm, **never, activation_arg2=math.inf, scale_d=gemm.scale_c)
    if generation in ("F1", "F2", "F3"):
        zero = {"alpha_imaginary": 0.0, "beta_imaginary": 0.0, "batch_mode": 0, "bias_stride": 0}
        gemm = replace(gemm, **zero, scale_a=min(gemm.scale_a, 2), scale_b=min(gemm.scale_b, 2))
    if generation in ("F1", "F2"):
        gemm = replace(gemm, swizzle_a=False, swizzle_b=False, aux_type="")
    return gemm


def logged(gemm: Gemm, generation: str) -> str:
    """The line that a library of that generation logs, with its spaces."""
    new, newest = generation in ("F3", "F4"), generation == "F4"
    letters = "abcde" if gemm.use_e else "abcd"
    parts = ["hipblaslt-bench", "--api_method", "c"]
    parts += ["--grouped_gemm"] if gemm.grouped else []
    for size in gemm.sizes:
        parts += ["-m", size.m, "-n", size.n, "-k", size.k]
        parts += [word for letter in letters for word in (f"--ld{letter}", getattr(size, f"ld{letter}"))]
        parts += [""]
        parts += [word for letter in letters for word in (f"--stride_{letter}", getattr(size, f"stride_{letter}"))]
    parts += ["--alpha", repr(gemm.alpha), *(["--alphai", repr(gemm.alpha_imaginary)] if newest else [])]
    parts += ["--beta", repr(gemm.beta), *(["--betai", repr(gemm.beta_imaginary)] if newest else [])]
    parts += ["--transA", gemm.trans_a, "--transB", gemm.trans_b, "--batch_count", gemm.batch]
    parts += ["--batch_mode", gemm.batch_mode] if newest else []
    for letter, mode in (("A", gemm.scale_a), ("B", gemm.scale_b)):
        if generation == "F1":
            parts += [f"--scale{letter}", "sv"[mode - 1]] if mode else [""]
        else:
            parts += [f"--scale{letter}", mode]
    parts += ["--scaleC", "--scaleD"] if gemm.scale_c else ["", ""]
    parts += ["--swizzleA"] if gemm.swizzle_a else []
    parts += ["--swizzleB"] if gemm.swizzle_b else []
    parts += ["--scaleAlpha_vector"] if gemm.scale_alpha_vector else [""]
    parts += ["--gradient"] if gemm.gradient else [""]
    parts += ["--use_e"] if gemm.use_e else [""]
    parts += ["--bias_vector", "--bias_source", gemm.bias_source] if gemm.bias_vector else ["", "", ""]
    parts += ["--bias_stride", gemm.bias_stride] if gemm.bias_vector and newest else []
    parts += ["--a_type", gemm.a_type, "--b_type", gemm.b_type, "--c_type", gemm.c_type, "--d_type", gemm.d_type]
    parts += ["--scale_type", gemm.scale_type, "--bias_type", gemm.bias_type or "f32_r"]
    parts += ["--aux_type", gemm.aux_type] if gemm.use_e and new else []
    parts += ["", "", "--compute_type", gemm.compute_type]
    parts += ["--algo_method", "index", "--solution_index", 1234] if generation != "F1" else []
    if generation != "F1" or gemm.activation != "none":
        parts += ["--activation_type", gemm.activation]
    parts += ["--flush", "--any_stride", "--rotating", 0, "--cold_iters", 0, "--iters", 0] if new else []
    return " ".join(str(part) for part in parts) + " "


def test_a_line_of_the_rocroller_path_is_read():
    line = (
        "hipblaslt-bench --api_method c -m 256 -n 512 -k 1024 --lda 1024 --ldb 1024 --ldc 256 --ldd 256 --stride_a 0 "
        "--stride_b 0 --stride_c 0 --stride_d 0 --alpha 1 --beta 0 --transA T --transB N --batch_count 1 --scaleA 3 "
        "--scaleB 3 --a_type f4_r --b_type f4_r --c_type f32_r --d_type f32_r --compute_type f32_r "
        "--algo_method index --solution_index 70000 --rotating 0 --cold_iters 0 --iters 0 "
    )
    scaled = {"scale_a": 3, "scale_b": 3}
    assert read(line) == Gemm.single(m=256, n=512, k=1024, trans_a="T", a_type="f4_r", c_type="f32_r", **scaled)
    # Without scales it logs their option and no value.
    plain = line.replace("--scaleA 3 --scaleB 3", "--scaleA  --scaleB ")
    assert read(plain) == Gemm.single(m=256, n=512, k=1024, trans_a="T", a_type="f4_r", c_type="f32_r")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--alpha 1.000000", "--alpha 1"),
        (" --scaleA 0 --scaleB 0", ""),
        ("--solution_index 218160", "--solution_index 1"),
        (" --algo_method index --solution_index 218160", ""),
        ("--activation_type none", ""),
        ("--activation_type none", "--activation_type none --any_stride --rotating 512 --cold_iters 20 --iters 20 "),
        ("--api_method c", "--api_method cpp"),
        ("--bias_type f32_r", "--bias_type bf16_r"),
        ("--stride_a 0", "--stride_a 49152"),
        ("--compute_type f32_r", "--splitk 4 --wgm 8 --compute_type f32_r"),
        ("--scale_type f32_r", ""),
        ("--lda 48", ""),
    ],
)
def test_what_does_not_change_the_problem_is_no_part_of_it(old, new):
    assert old in BASE
    assert read(BASE.replace(old, new)) == read(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--scaleA 0", "--scaleA 1"),
        ("--beta 0.000000", "--beta -1.000000"),
        ("--activation_type none", "--activation_type gelu"),
        ("--scaleB 0", "--scaleB 0 --bias_vector --bias_source d"),
        ("--scaleB 0", "--scaleB 0 --use_e"),
        ("--scaleB 0", "--scaleB 0 --scaleC --scaleD"),
        ("--lda 48", "--lda 64"),
        ("--batch_count 1", "--batch_count 2"),
        ("--scaleB 0", "--scaleB 0 --brand_new 3"),
    ],
)
def test_what_changes_the_problem_is_a_part_of_it(old, new):
    assert old in BASE
    assert read(BASE.replace(old, new)) != read(BASE)


def test_a_stride_of_zero_in_a_batch_is_kept_also_without_its_flag():
    shared = read(BASE.replace("--batch_count 1", "--batch_count 4").replace("--stride_c 0", "--stride_c 9000"))
    assert shared.size.stride_a == 0
    assert shared.any_stride
    assert "--any_stride" in shared.to_argv(Bench.H24)


def test_groups_keep_their_order():
    first = (
        "-m 48 -n 176 -k 1024 --lda 48 --ldb 176 --ldc 48 --ldd 48  --stride_a 0 --stride_b 0 --stride_c 0 --stride_d 0"
    )
    assert first in BASE
    groups = f"--grouped_gemm {first} {first.replace('-m 48 -n 176', '-m 40 -n 99')}"
    gemm = read(BASE.replace(first, groups))
    assert [(size.m, size.n) for size in gemm.sizes] == [(48, 176), (40, 99)]
    assert gemm.flops == 2 * 1024 * (48 * 176 + 40 * 99)
    assert read_command(gemm.to_argv(Bench.H25)) == gemm


def test_an_option_of_the_future_is_passed_on():
    gemm = read(BASE + " --brand_new -2.5 --flag_of_tomorrow")
    assert gemm.extra == (("--brand_new", "-2.5"), ("--flag_of_tomorrow",))
    assert gemm.to_argv(Bench.L26)[-3:] == ("--brand_new", "-2.5", "--flag_of_tomorrow")


def test_the_bare_word_of_the_log_takes_a_number_in_a_newer_bench_and_is_lost_in_an_older_one():
    gemm = read(BASE.replace("--scaleB 0", "--scaleB 0 --scaleC --scaleD"))
    words = gemm.to_argv(Bench.H25)
    assert words[words.index("--scaleC") + 1] == "1"
    assert "--scaleC" not in gemm.to_argv(Bench.H24)
    assert gemm.lost(Bench.H24) == ("--scaleC", "--scaleD")
    assert not gemm.lost(Bench.H25)


def test_a_profile_line_counts_the_calls_of_the_same_problem():
    entry = read_line(PROFILE.encode())
    assert entry is not None
    assert (entry.gemm, entry.calls, entry.profile) == (read(BASE), 12, True)


def test_a_profile_line_keeps_its_flags():
    text = PROFILE.replace("bias_vector: false", "bias_vector: true").replace("use_e: false", "use_e: true")
    assert read(text) == read(BASE.replace("--scaleB 0", "--scaleB 0 --use_e --bias_vector --bias_source d"))


@pytest.mark.parametrize(
    "line", ["", "[rank0] loss 3.2", "hipBLASLt warning: x", "- { function: other }", "--lda 48 --ldb 176"]
)
def test_a_line_of_somebody_else_is_foreign(line):
    assert read_line(line.encode()) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (BASE[: BASE.index(" --transB")], "without"),
        (BASE[: BASE.index("1024")], "without a whole number"),
        (BASE.replace("--ldc 48", "--ldc 4hipblaslt-bench --api_method c"), "--ldc without a whole number"),
        (BASE.replace("--ldc 48", "--ldc hipblaslt-bench --api_method c -m 4"), "--ldc without a whole number"),
        (BASE + " " + BASE, "values"),
        (BASE.replace("-n 176", "-n 176 -m 8"), "more often"),
        (BASE.replace("--bias_type", "--bias_ty"), "part of an option"),
        (BASE.replace("bf16_r --b_type", "bf1 --b_type"), "is not one of its values"),
        (BASE.replace("-m 48", "-m 0"), "at least 1"),
        (BASE.replace("--alpha 1.000000", "--alpha nan"), "must be numbers"),
        (BASE.replace("--api_method c", "--api_method c stray"), "--api_method with 2 values"),
        (BASE + " \xff", "no text"),
        (PROFILE[:-20], "without its end"),
        (PROFILE.replace("call_count: 12", "x: 1"), "without call_count"),
    ],
)
def test_a_line_that_is_not_whole_says_so(line, message):
    with pytest.raises(TornLine, match=message):
        read_line(line.encode("latin-1"))


@given(st.integers(30, len(BASE) - 1))
def test_a_line_that_lost_its_end_is_never_another_problem(length):
    """Unless only options at its end are missing that say nothing."""
    try:
        gemm = read(BASE[:length])
    except TornLine:
        return
    assert gemm == read(BASE)

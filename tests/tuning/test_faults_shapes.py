"""The faults of the original tuning scripts in reading logs, each with a test that names it. The table of
docs/tuning.md lists all."""

from __future__ import annotations

import pytest

from primus.tuning.gemm import Gemm
from primus.tuning.line import read_line
from primus.tuning.options import Bench
from primus.tuning.shapes import read_dumps

SIZES = "-m 64 -n 32 -k 16 --lda 16 --ldb 16 --ldc 64 --ldd 64"
TYPES = "--a_type bf16_r --b_type bf16_r --c_type bf16_r --d_type bf16_r --scale_type f32_r --compute_type f32_r"


def line(*options: str, sizes: str = SIZES) -> str:
    words = ["hipblaslt-bench --api_method c", sizes, "--transA T --transB N --batch_count 1", *options, TYPES]
    return " ".join(words) + " "


def problem(*options: str, sizes: str = SIZES) -> Gemm:
    entry = read_line(line(*options, sizes=sizes).encode())
    assert entry is not None
    return entry.gemm


@pytest.mark.parametrize(
    "flag", ["--bias_vector", "--use_e", "--gradient", "--scaleAlpha_vector", "--swizzleA", "--swizzleB", "--amaxD"]
)
def test_fault_1_flags_without_value_are_kept_and_printed_for_the_bench(flag):
    assert problem(flag) != problem()
    assert flag in problem(flag).to_argv(Bench.L26)


def test_fault_1_the_flag_of_free_strides_is_kept():
    sizes = f"{SIZES} --stride_a 8 --stride_b 512 --stride_c 2048 --stride_d 2048"
    text = line("--any_stride", sizes=sizes).replace("--batch_count 1", "--batch_count 4")
    entry = read_line(text.encode())
    assert entry is not None
    assert "--any_stride" in entry.gemm.to_argv(Bench.L26)


def test_fault_2_negative_numbers_are_values_and_no_options():
    found = problem("--alpha -1.000000 --beta -0.5")
    assert (found.alpha, found.beta) == (-1.0, -0.5)


def test_fault_3_of_repeated_options_each_counts_in_its_order():
    groups = (
        "-m 64 -n 32 -k 16 --lda 16 --ldb 16 --ldc 64 --ldd 64 -m 128 -n 8 -k 4 --lda 4 --ldb 4 --ldc 128 --ldd 128"
    )
    found = problem("--grouped_gemm", sizes=groups)
    assert [(size.m, size.n, size.k) for size in found.sizes] == [(64, 32, 16), (128, 8, 4)]


@pytest.mark.parametrize("tail", ["", "--algo_method index --solution_index 9 --activation_type none"])
def test_fault_4_a_log_with_or_without_solution_is_the_same_problem(tail):
    assert problem(tail) == problem()


@pytest.mark.parametrize("text", ["\n", "--bias_vector 1\n", "hipblaslt-bench\n", "\n\n \n"])
def test_fault_5_blank_and_odd_lines_end_nothing(tmp_path, text):
    dump = tmp_path / "dump"
    dump.write_text(f"{line()}\n{text}{line()}\n")
    shapes = read_dumps([dump])
    assert [(gemm, use.calls) for gemm, use in shapes.uses.items()] == [(problem(), 2)]


def test_fault_6_one_problem_in_several_texts_is_one_shape_with_all_its_calls(tmp_path):
    dumps = [tmp_path / "a", tmp_path / "b"]
    dumps[0].write_text(line("--alpha 1.000000 --solution_index 3") + "\n" + line("--alpha 1") + "\n")
    dumps[1].write_text(line().replace("--api_method c", "--api_method cpp") + "\n")
    shapes = read_dumps(dumps)
    assert [(use.calls, use.ranks) for use in shapes.uses.values()] == [(3, 2)]


def test_fault_6_the_order_is_the_same_in_every_run_and_by_weight(tmp_path):
    dump = tmp_path / "dump"
    small = line(sizes=SIZES.replace("-m 64", "-m 8").replace("64", "8"))
    dump.write_text("\n".join([small, line(), small]) + "\n")
    heaviest = [gemm.m for gemm, _ in read_dumps([dump]).heaviest()]
    assert heaviest == [64, 8]

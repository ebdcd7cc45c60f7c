"""The fake library's log and its way with override files, which the rest of tuning is tested against."""

from __future__ import annotations

from pathlib import Path

import pytest

from primus.tuning.gemm import Gemm
from primus.tuning.line import read_line

GEMM = "Gemm.single(m=48, n=32, k=16, trans_a='T', a_type='bf16_r', bias_vector=True)"
COLUMNS = (
    "transA,transB,grouped_gemm,batch_count,m,n,k,alpha,lda,stride_a,beta,ldb,stride_b,ldc,stride_c,ldd,stride_d,"
    "a_type,b_type,c_type,d_type,compute_type,scaleA,scaleB,scaleC,scaleD,amaxD"
)
VALUES = "T,N,0,1,48,32,16,1,16,0,0,16,0,48,0,48,0,bf16_r,bf16_r,bf16_r,bf16_r,f32_r,0,0,0,0,0"
"""Of a row for GEMM, up to where the generations differ."""


@pytest.fixture(scope="module")
def solutions(kernels) -> list[int]:
    """Of GEMM, the library's choice first."""
    problem = {"m": 48, "n": 32, "k": 16, "batch_count": 1, "transA": "T", "transB": "N", "epilogue": 4}
    problem |= {f"{name}_type": "bf16_r" for name in "abcd"} | {"compute_type": "f32_r", "scaleA": 0, "scaleB": 0}
    return kernels.ranked(problem, 128 << 20)


@pytest.mark.parametrize("form", ["F1", "F2", "F3", "F4"])
def test_every_generation_of_lines_says_the_same(client, form: str):
    line = client(f"multiply({GEMM})", HIPBLASLT_LOG_MASK="32", STANDIN_LOG=form).stderr
    assert line.startswith("hipblaslt-bench --api_method c -m 48 -n 32 -k 16 ")
    assert line.endswith(" \n"), "the library ends a line with a space"
    newer = {"--solution_index": "F2", "--any_stride": "F3", "--alphai": "F4"}
    assert [name in line for name in newer] == [form >= since for since in newer.values()]
    parsed = read_line(line.encode())
    assert parsed is not None
    assert parsed.gemm == Gemm.single(m=48, n=32, k=16, trans_a="T", a_type="bf16_r", bias_vector=True)


def test_profile_lines_count_the_calls(client):
    err = client(f"multiply({GEMM}, times=3)", HIPBLASLT_LOG_MASK="0x60").stderr
    assert err.count("hipblaslt-bench") == 3
    assert err.splitlines()[-1].startswith("- { function: matmul, M: 48, N: 32, K: 16, ")
    assert err.splitlines()[-1].endswith(", call_count: 3 }")


def test_a_file_is_one_per_process_and_starts_anew(client, tmp_path: Path):
    (tmp_path / "dump.txt").write_text("of before\n")
    client(f"multiply({GEMM})", HIPBLASLT_LOG_MASK="32", HIPBLASLT_LOG_FILE="dump.txt")
    assert (tmp_path / "dump.txt").read_text().count("\n") == 1
    done = client(f"multiply({GEMM})\nprint(os.getpid())", HIPBLASLT_LOG_MASK="32", HIPBLASLT_LOG_FILE="d_%i_%i.log")
    assert (tmp_path / f"d_{done.stdout.strip()}_%i.log").exists(), "only the first %i is replaced"


def test_the_level_silences_the_mask(client):
    assert client(f"multiply({GEMM})", HIPBLASLT_LOG_MASK="32", HIPBLASLT_LOG_LEVEL="0").stderr == ""


def rows(generation: str, *indices: int) -> str:
    more_names, more = ",us", ",9"
    if generation == "G1":
        more_names = ",activation_type,bias_vector,bias_type,rotating_buffer,hipblaslt-Gflops,hipblaslt-GB/s,us"
        more = ",none,1,bf16_r,512,9,9,9"
    header = f"    {COLUMNS}{more_names},solution_index,gcnArchName,CUs\n"
    return "".join(f"{header}    {VALUES}{more},{index},gfx942,304\n" for index in indices)


@pytest.mark.parametrize("generation", ["G1", "G2", "G3", "G4"])
def test_an_override_file_is_read_by_every_generation(client, tmp_path: Path, solutions: list[int], generation: str):
    (tmp_path / "file").write_text("Git Version: fa9cdd18\n" + rows(generation, solutions[5]))
    done = client(
        f"print(first({GEMM}))",
        HIPBLASLT_TUNING_OVERRIDE_FILE="file",
        HIPBLASLT_LOG_MASK="9",
        STANDIN_READER=generation,
    )
    assert done.stdout == f"{solutions[5]}\n", done.stderr
    assert "[hipblasLtMatmulAlgoGetHeuristic] HIPBLASLT_TUNING_OVERRIDE_FILE is the correct setting." in done.stderr
    assert f"[Info][problem_override_from_file] Find solution with index: {solutions[5]}" in done.stderr


def test_the_first_generation_wants_37_fields(client, tmp_path: Path, solutions: list[int]):
    (tmp_path / "file").write_text("Git Version: fa9cdd18\n" + rows("G2", solutions[5]))
    done = client(f"print(first({GEMM}))", HIPBLASLT_TUNING_OVERRIDE_FILE="file", STANDIN_READER="G1")
    assert done.stdout == f"{solutions[0]}\n"


def test_of_rows_with_one_key_the_last_is_taken(client, tmp_path: Path, solutions: list[int]):
    (tmp_path / "file").write_text("Git Version: fa9cdd18\n" + rows("G2", solutions[5], solutions[6], 77))
    done = client(f"print(first({GEMM}))", HIPBLASLT_TUNING_OVERRIDE_FILE="file")
    assert done.stdout == f"{solutions[6]}\n", "77 is no solution of the problem"


def test_a_file_of_another_build_is_ignored_with_an_error_in_the_log(client, tmp_path: Path, solutions: list[int]):
    (tmp_path / "file").write_text("Git Version: 0badc0de\n" + rows("G2", solutions[5]))
    done = client(f"print(first({GEMM}))", HIPBLASLT_TUNING_OVERRIDE_FILE="file", HIPBLASLT_LOG_MASK="1")
    assert done.stdout == f"{solutions[0]}\n"
    assert "[Error][hipblasLtMatmulAlgoGetHeuristic] The hipBLASLt git version and the override file" in done.stderr


def test_an_override_that_needs_more_workspace_is_passed_over_in_silence(client, tmp_path: Path, solutions: list[int]):
    big = sorted(solutions)[3]  # 96 MiB
    (tmp_path / "file").write_text("Git Version: fa9cdd18\n" + rows("G2", big))
    code = f"made = ready({GEMM})\nsmall = stack.enter_context(library.preference(64 << 20))\n"
    code += "print(handle.heuristics(made.desc, made.layouts, small)[0].algo.index, first(made.gemm))"
    done = client(code, HIPBLASLT_TUNING_OVERRIDE_FILE="file", HIPBLASLT_LOG_MASK="1")
    small, large = (int(word) for word in done.stdout.split())
    assert (small != big, large, done.stderr) == (True, big, "")


def test_an_override_with_nothing_in_it_counts_as_set(client):
    done = client(f"first({GEMM})", HIPBLASLT_TUNING_OVERRIDE_FILE="", HIPBLASLT_LOG_MASK="8")
    assert "No valid entries found in override file." in done.stderr

"""The fake hipblaslt-bench behaves as the real one does, which the tuner is tested against."""

from __future__ import annotations

import csv
import fcntl
import signal
from pathlib import Path
from types import ModuleType

import pytest

from primus.tuning.gemm import Gemm
from primus.tuning.options import Bench

SHAPE = ("-m", "64", "-n", "48", "-k", "32", "--transA", "T", "--a_type", "bf16_r", "--b_type", "bf16_r")
SHAPE += ("--c_type", "bf16_r", "--d_type", "bf16_r", "--compute_type", "f32_r")
FILE = {"HIPBLASLT_TUNING_FILE": "file"}


@pytest.fixture
def known(kernels: ModuleType) -> dict[int, float]:
    """Times of SHAPE's solutions, the library's choice first."""
    return _times(kernels, epilogue=1)


def _times(kernels: ModuleType, epilogue: int, limit: int = 128 << 20) -> dict[int, float]:
    problem = {"m": 64, "n": 48, "k": 32, "batch_count": 1, "transA": "T", "transB": "N", "epilogue": epilogue}
    problem |= {f"{name}_type": "bf16_r" for name in "abcd"} | {"compute_type": "f32_r", "scaleA": 0, "scaleB": 0}
    return {index: kernels.time_us(problem, index) for index in kernels.ranked(problem, limit)}


def rows(path: Path) -> list[dict[str, str]]:
    lines = path.read_text().splitlines()[1:]
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return [dict(zip(*(next(csv.reader([line.strip()])) for line in pair), strict=True)) for pair in pairs]


def test_a_tuning_run_appends_the_winner(bench, tmp_path: Path, known: dict[int, float]):
    assert "Initialize tuning file." in bench(*SHAPE, **FILE).stdout
    out = bench(*SHAPE, **FILE).stdout
    assert out.startswith("tuning file git version: fa9cdd18\nHIPBLASLT_TUNING_FILE is the correct setting.\n")
    assert (tmp_path / "file").read_text().startswith("Git Version: fa9cdd18\n    transA,transB,grouped_gemm,")
    first, second = rows(tmp_path / "file")
    best = min(known, key=known.__getitem__)
    assert first == second
    assert (int(first["solution_index"]), float(first["us"])) == (best, pytest.approx(known[best], rel=1e-4))
    assert (first["gcnArchName"], first["CUs"], first["rotating_buffer"]) == ("gfx942:sramecc+:xnack-", "304", "512")


def test_the_output_has_one_row_per_solution_and_then_the_winner(bench):
    lines = bench(*SHAPE, **FILE).stdout.splitlines()
    at = lines.index("Is supported 12 / Total solutions: 12")
    assert lines[at + 1].startswith("[0]:transA,")
    assert lines[at + 1].endswith(",us"), "which solution it is does not stand in the row"
    assert lines[at + 3].startswith("[1]:transA,")
    assert lines[-3] == "Winner: "
    assert lines[-2].endswith(",us,solution_index")
    assert "Query device success: there are 4 devices" in lines


def test_kernel_info_names_the_solutions(bench, known: dict[int, float]):
    lines = bench(*SHAPE, "--print_kernel_info", **FILE).stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("[0]:"))
    assert lines[at + 2] == f"    --Solution index: {next(iter(known))}"
    assert lines[at + 4].startswith("    --kernel name:    Cijk_")


def test_a_single_solution_has_no_winner_block(bench, tmp_path: Path):
    out = bench(*SHAPE, **FILE, STANDIN_FAILURES="*:single").stdout
    assert "Winner" not in out
    assert out.splitlines()[-2].endswith(",us,solution_index")
    assert len(rows(tmp_path / "file")) == 1


def test_outside_tuning_one_solution_is_run(bench, tmp_path: Path):
    out = bench(*SHAPE).stdout
    assert "Is supported 1 / Total solutions: 1" in out
    assert not (tmp_path / "file").exists()


def test_a_file_of_another_build_ends_it_untouched(bench, tmp_path: Path):
    (tmp_path / "file").write_text("Git Version: 0badc0de\n")
    done = bench(*SHAPE, **FILE)
    assert (done.returncode, (tmp_path / "file").read_text()) == (1, "Git Version: 0badc0de\n")
    assert "are not the same" in done.stdout


def test_an_unknown_option_is_refused_after_the_version_line_was_written(bench, tmp_path: Path):
    done = bench(*SHAPE, "--sizeM=3", **FILE)
    assert (done.returncode, done.stderr) == (255, "Option --sizeM=3 is not defined.\n")
    assert (tmp_path / "file").read_text() == "Git Version: fa9cdd18\n"


@pytest.mark.parametrize(
    "options",
    [
        ("--scaleC",),
        ("--a_type", "bf17_r"),
        ("--alphai", "0"),
        ("-m", "many"),
        ("--scaleA", "v"),
        ("---m", "3"),
        ("-mm", "3"),
    ],
)
def test_what_it_does_not_understand_ends_it_with_255(bench, options: tuple[str, ...]):
    assert bench(*SHAPE, *options).returncode == 255


def test_the_old_bench_has_other_options(bench):
    assert bench(*SHAPE, "--scaleA", "v", STANDIN_BENCH="H24").returncode == 0
    assert bench(*SHAPE, "--swizzleA", STANDIN_BENCH="H24").returncode == 255
    assert bench(*SHAPE, "--alphai", "0", STANDIN_BENCH="L26").returncode == 0


def test_of_a_number_the_beginning_counts(bench):
    out = bench("-m", "16abc", "-n", "16", "-k", "16").stdout
    assert out.splitlines()[-1].startswith("    N,N,0,1,16,16,16,")


def test_dropping_the_bias_gives_another_problem(bench, tmp_path: Path, kernels: ModuleType):
    bench(*SHAPE, "--bias_vector", **FILE)
    found = int(rows(tmp_path / "file")[0]["solution_index"])
    assert found in _times(kernels, epilogue=4)
    assert found not in _times(kernels, epilogue=1)


def test_the_workspace_limit_of_a_tuning_run_is_in_the_environment(bench, tmp_path: Path, kernels: ModuleType):
    bench(*SHAPE, **FILE, HIPBLASLT_TUNING_USER_MAX_WORKSPACE=str(64 << 20))
    known = _times(kernels, 1, limit=64 << 20)
    assert int(rows(tmp_path / "file")[0]["solution_index"]) == min(known, key=known.__getitem__)


@pytest.mark.parametrize(
    ("columns", "count", "last"), [("37", 37, "CUs"), ("42", 42, "CUs"), ("43", 43, "kernel_name")]
)
def test_generations_of_rows(bench, tmp_path: Path, columns: str, count: int, last: str):
    bench(*SHAPE, **FILE, STANDIN_COLUMNS=columns)
    (row,) = rows(tmp_path / "file")
    assert (len(row), [*row][-1]) == (count, last)


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("none", 1, "error: NO solution found!"),
        ("oom", 1, "error: out of memory (2)"),
        ("status", 1, "hipBLASLt status error: Expected"),
        ("silent", 0, "No Solution Found!!"),
        ("gone", 1, "error: unspecified launch failure (719)"),
        ("abort", -signal.SIGABRT, "Memory access fault"),
        ("segv", -signal.SIGSEGV, ""),
    ],
)
def test_failures_end_as_the_real_ones(bench, tmp_path: Path, kind: str, status: int, said: str):
    done = bench(*SHAPE, **FILE, STANDIN_FAILURES=f"1x1x1:oom;64x48x32:{kind}")
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert (tmp_path / "file").read_text() == "Git Version: fa9cdd18\n"


def test_a_row_can_stay_half_written(bench, tmp_path: Path):
    assert bench(*SHAPE, **FILE, STANDIN_FAILURES="*:partial").returncode == -signal.SIGKILL
    header, row = (tmp_path / "file").read_text().splitlines()[1:]
    assert row.count(",") < header.count(",")


def test_without_a_device_it_aborts(bench):
    assert bench("--version", HIP_VISIBLE_DEVICES="").returncode == -signal.SIGABRT


def test_help_and_version_are_not_failures(bench):
    assert bench("--version").stdout == "hipBLASLt version: 100201\n"
    assert "--requested_solution" in bench("--help").stdout


def test_two_runs_on_one_gpu_are_noticed(bench, tmp_path: Path):
    with (tmp_path / "gpu-2").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = bench(*SHAPE, STANDIN_DIRECTORY=str(tmp_path), ROCR_VISIBLE_DEVICES="1,2", HIP_VISIBLE_DEVICES="1")
    assert (done.returncode, done.stderr) == (99, "two runs at a time on GPU 2\n")
    assert "TWO ON ONE 2" in (tmp_path / "runs").read_text()


def test_runs_are_written_down(bench, tmp_path: Path):
    bench(*SHAPE, STANDIN_DIRECTORY=str(tmp_path), STANDIN_SECONDS="0.01")
    start, end = (line.split()[1:4] for line in (tmp_path / "runs").read_text().splitlines())
    assert (start, end) == (["start", "0", "64x48x32"], ["end", "0", "64x48x32"])


@pytest.mark.parametrize("generation", Bench)
def test_it_takes_what_a_gemm_prints(bench, generation: Bench):
    gemm = Gemm.single(m=8, n=8, k=8, a_type="bf16_r", alpha=-1.0, beta=1e-5, bias_vector=True, batch=3, scale_a=1)
    done = bench(*gemm.to_argv(generation), STANDIN_BENCH=generation.name)
    assert done.returncode == 0, done.stderr

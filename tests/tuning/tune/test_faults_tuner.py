"""The faults of the original tuning scripts that concern shapes, tuning and its files, each with a test that names it.
The table of docs/tuning.md lists all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primus.errors import UsageError
from primus.tuning.gemm import Gemm
from primus.tuning.measure_process import Failure
from primus.tuning.measure_times import Comparison, Times
from primus.tuning.shapes import read_dumps, write_shapes
from primus.tuning.tune.bench import find_bench, iterations
from primus.tuning.tune.engine import Engine, Found, Machine, Task
from primus.tuning.tune.gpus import Gpu, visible_gpus
from primus.tuning.tune.processes import Processes

SIZES = "-m {m} -n 512 -k 256 --lda 256 --ldb 256 --ldc {m} --ldd {m}"
TYPES = "--a_type bf16_r --b_type bf16_r --c_type bf16_r --d_type bf16_r --scale_type f32_r --bias_type bf16_r"
PLAIN = "--alpha 1.000000 --beta 0.000000"
LINE = "hipblaslt-bench --api_method c {sizes} {factors} --transA T --transB N --batch_count 1 {flags} {types} {rest}"


def line(m: int = 64, *, factors: str = PLAIN, flags: str = "", rest: str = "--compute_type f32_r") -> str:
    return LINE.format(sizes=SIZES.format(m=m), factors=factors, flags=flags, types=TYPES, rest=rest) + "  \n"


DUMP = [
    line(64, flags="--bias_vector --bias_source d --scaleAlpha_vector --use_e", rest="--compute_type f32_r "
         "--activation_type gelu"),
    line(128, factors="--alpha -1.000000 --beta -0.5"),
    line(192, flags="--scaleA 0 --scaleB 0", rest="--compute_type f32_r --algo_method index --solution_index 56073"),
    line(192, rest="--compute_type f32_r --algo_method index --solution_index 218160 --activation_type none"),
    line(192, factors="--alpha 1 --beta 0"),
    line(256),
    "\n",
    "[2026-01-01 00:00:00][HIPBLASLT][1][Info] something else\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def replayed(make_tuning: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The dump of an older and a newer library, tuned."""
    tuning = make_tuning(tmp_path_factory.mktemp("replayed"))
    dump = tuning.request.shapes.parent / "node0" / "1.log"
    dump.parent.mkdir(parents=True)
    dump.write_text("".join(DUMP))
    write_shapes(tuning.request.shapes, read_dumps([dump]))
    tuning.outcome = tuning.run()
    return tuning


def commands(tuning: Any, m: int) -> list[str]:
    return [options for _, shape, options in tuning.starts() if shape == f"{m}x512x256"]


def test_fault_1_flags_without_a_value_reach_the_bench(replayed):
    for options in commands(replayed, 64):
        for flag in ("--bias_vector", "--bias_source d", "--scaleAlpha_vector", "--use_e", "--activation_type gelu"):
            assert flag in options


def test_fault_2_negative_factors_reach_the_bench(replayed):
    assert all("--alpha -1.0 --beta -0.5" in options for options in commands(replayed, 128))


def test_fault_5_lines_that_say_nothing_do_not_end_it(replayed):
    assert replayed.outcome.status == 0
    assert commands(replayed, 256)


def test_fault_6_a_shape_is_tuned_once_however_it_was_logged_and_weighed_by_its_calls(replayed):
    shapes = {shape["gemm"]: shape["calls"] for shape in replayed.report()["shapes"]}
    assert shapes["TN 192×512×256 bf16_r"] == 3
    assert sorted(shapes.values()) == [1, 1, 1, 3]
    assert (
        sum("HIPBLASLT_TUNING_FILE" in options or "--skip_slow" in options for options in commands(replayed, 192)) == 1
    )


class Quick:
    """An engine without processes, of as many GPUs as are wanted."""

    name = "quick"

    def __init__(self, gpus: int = 8, answer: Callable[[Gemm], Found | Failure] | None = None) -> None:
        self._gpus = visible_gpus(gpus, {})
        self._answer = answer or (lambda gemm: found(2.0, 1.0))

    def machine(self, processes: Processes) -> Machine:
        return Machine(
            revision="fa9cdd18", architecture="gfx942", compute_units=304, generation="G2", gpus=tuple(self._gpus)
        )

    def refuses(self, gemm: Gemm) -> str | None:
        return None

    def tune(self, task: Task, processes: Processes) -> Found | Failure:
        return self._answer(task.gemm)

    def is_alive(self, gpu: Gpu, processes: Processes) -> bool:
        return True


def found(default: float, tuned: float, *, rounds: int = 5, indices: tuple[int, int] = (7, 8)) -> Found:
    comparison = Comparison(default=Times(samples=(default,) * rounds), tuned=Times(samples=(tuned,) * rounds))
    return Found(default_index=indices[0], tuned_index=indices[1], comparison=comparison, solutions=2, rejected={})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[Engine], None]:
    """Makes the tuner take an engine."""
    return lambda engine: monkeypatch.setattr("primus.tuning.tune.tuner.pick", lambda request, environ: engine)


def test_fault_12_shapes_that_fail_end_neither_their_worker_nor_the_run(tuning, gemm, quick):
    gemms = [gemm(8 * number) for number in range(1, 401)]
    failing = {each for number, each in enumerate(gemms) if number % 2}
    tuning.shapes(*gemms)
    failure = Failure(kind="no-solution", message="NO solution found! " * 100)
    quick(Quick(answer=lambda each: failure if each in failing else found(2.0, 1.0)))
    outcome = tuning.run()
    assert (outcome.status, outcome.kept, outcome.failed, outcome.left) == (6, 200, 200, 0)


def test_fault_13_every_shape_is_in_the_report_whatever_its_options(tuning, gemm):
    gemms = [
        gemm(64, batch=2, batch_mode=1),
        gemm(128, alpha_imaginary=0.5),
        gemm(192, use_e=True, activation="gelu", aux_type="f16_r"),
        gemm(256, scale_c=True, scale_d=True),
    ]
    tuning.shapes(*gemms)
    outcome = tuning.run(environ={"STANDIN_BENCH": "L26", "STANDIN_COLUMNS": "43"})
    assert outcome.status == 0
    assert {shape["state"] for shape in tuning.report()["shapes"]} <= {"kept", "same"}
    assert len(tuning.report()["shapes"]) == 4


def test_fault_14_the_results_of_all_gpus_are_whole(tuning, gemm, quick):
    tuning.shapes(*(gemm(8 * number) for number in range(1, 401)))
    quick(Quick())
    tuning.run()
    results = tuning.results()
    assert (len(results.rows), results.problems, results.version) == (400, [], "fa9cdd18")
    assert tuning.request.results.read_text().count("Git Version") == 1


def test_fault_15_a_run_goes_on_where_it_ended_with_a_log_and_a_time_limit_for_each_shape(tuning, gemm):
    tuning.shapes(gemm(320))
    assert tuning.run().failed == 0
    tuned = len(commands(tuning, 320))
    tuning.shapes(gemm(64), gemm(320))
    assert tuning.run(environ={"STANDIN_FAILURES": "64x512x256:hang"}, time_limit=1.0).failed == 1
    assert tuning.run(time_limit=1.0).failed == 1, "with the same limit it would hang again"
    assert tuning.run(time_limit=60.0).failed == 0
    assert len(commands(tuning, 320)) == tuned
    assert len(list((tuning.folder / "logs").iterdir())) == 2


def test_fault_15_progress_and_the_time_that_is_left_are_shown(tuning, gemm, capsys):
    tuning.shapes(gemm(64), gemm(320))
    tuning.run(environ={"STANDIN_DEVICES": "1"})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(
        "2 of 2 shapes to tune; engine bench, on 1 GPU (gfx942:sramecc+:xnack-, hipBLASLt fa9cdd18)"
    )
    assert lines[1].startswith("[1/2] ")
    assert "ETA 0:0" in lines[1]


def test_fault_16_results_of_another_build_are_found_before_anything_runs(tuning, gemm):
    tuning.shapes(gemm(64))
    tuning.run()
    before = len(tuning.starts())
    with pytest.raises(UsageError, match=r"numbers of kernels mean something else there\. Give --fresh"):
        tuning.run(environ={"STANDIN_REVISION": "0badc0de"})
    assert len(tuning.starts()) == before


def test_fault_17_the_exit_status_tells_whether_any_failed(tuning, gemm, quick):
    tuning.shapes(gemm(64), gemm(320))
    quick(Quick())
    assert tuning.run().status == 0
    failure = Failure(kind="no-solution", message="none")
    quick(Quick(answer=lambda each: failure if each.m == 64 else found(2.0, 1.0)))
    assert tuning.run(fresh=True).status == 6


def test_fault_18_the_bench_is_found_where_it_is(rocm, tmp_path):
    bench = rocm / "bin" / "hipblaslt-bench"
    assert find_bench({"PATH": str(rocm / "bin")}) == bench
    assert find_bench({"PATH": str(tmp_path), "ROCM_PATH": str(rocm)}) == bench
    assert find_bench({"PATH": str(tmp_path), "ROCM_PATH": str(tmp_path)}) != bench
    assert find_bench({"PATH": str(tmp_path)}, rocm) == bench


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({}, ["0", "1", "2"]),
        ({"HIP_VISIBLE_DEVICES": "5,3,4"}, ["5", "3", "4"]),
        ({"ROCR_VISIBLE_DEVICES": "5,3,4"}, ["0", "1", "2"]),
        ({"CUDA_VISIBLE_DEVICES": "6,7,1"}, ["6", "7", "1"]),
        ({"HIP_VISIBLE_DEVICES": "2,2,0"}, ["2", "0"]),
        ({"HIP_VISIBLE_DEVICES": "1,0,2,9"}, ["1", "0", "2"]),
    ],
)
def test_fault_18_the_gpus_are_those_that_are_visible(environ: dict[str, str], chosen: list[str]):
    gpus = visible_gpus(3, environ)
    assert [gpu.chosen for gpu in gpus] == chosen
    inner = gpus[0].environ({**environ, "ROCR_VISIBLE_DEVICES": "5,3,4"})
    assert inner == {"HIP_VISIBLE_DEVICES": chosen[0], "ROCR_VISIBLE_DEVICES": "5,3,4"}


def test_fault_20_a_winner_that_is_not_faster_gets_no_row(tuning, gemm, quick):
    answers = {64: found(1.0, 1.2), 128: found(1.0, 0.998), 192: found(1.0, 0.8), 256: found(1.0, 1.0, indices=(7, 7))}
    tuning.shapes(*(gemm(m) for m in answers))
    quick(Quick(answer=lambda each: answers[each.m]))
    tuning.run()
    assert [row.key.m for row in tuning.results().rows] == [192]
    assert {m: tuning.shape(gemm(m))["state"] for m in answers} == {64: "same", 128: "same", 192: "kept", 256: "same"}


def test_fault_20_in_noise_only_what_is_above_it_is_kept(tuning, gemm):
    gemms = [gemm(64 * number) for number in range(1, 5)]
    tuning.shapes(*gemms)
    tuning.run(environ={"STANDIN_NOISE": "0.2"})
    for shape in tuning.report()["shapes"]:
        assert (shape["state"] == "kept") == (
            shape["gain"] > max(0.005, 3 * shape["noise"]) and shape["tuned_index"] != shape["default_index"]
        )


def test_fault_21_launches_go_by_the_duration_of_the_kernel(tuning, gemm):
    assert iterations(2.0, 10_000) == (200, 1000)
    assert iterations(100.0, 10_000) == (50, 100)
    assert iterations(50_000.0, 10_000) == (2, 5)
    tuning.shapes(gemm(64))
    tuning.run()
    (search,) = [options for options in commands(tuning, 64) if "--skip_slow_solution_ratio" in options]
    assert "--cold_iters 200 --iters 1000 --skip_slow_solution_ratio 0.5" in search


def test_fault_22_winners_fit_the_workspace_of_the_trainer(tuning, gemm, times):
    best: dict[int, int] = {}
    for limit in (64 << 20, 128 << 20):
        known = times(gemm(448), limit=limit)
        best[limit] = min(known, key=known.__getitem__)
    tuning.shapes(gemm(448))
    for limit, index in best.items():
        tuning.run(max_workspace=limit)
        assert tuning.shape(gemm(448))["tuned_index"] == index
    tuning.run(max_workspace=64 << 20)
    assert all("--workspace " in options for options in commands(tuning, 448))


def test_fault_25_of_problems_with_one_key_the_heaviest_is_served_and_that_is_told(tuning, gemm, quick):
    light, heavy = gemm(64, bias_vector=True), gemm(64)
    answers = {light: found(2.0, 1.0, indices=(1, 2)), heavy: found(4.0, 3.0, indices=(1, 3))}
    tuning.shapes(heavy, light)
    quick(Quick(answer=answers.__getitem__))
    outcome = tuning.run()
    assert [row.solution_index for row in tuning.results().rows] == [2, 3]
    assert (tuning.shape(light)["state"], tuning.shape(heavy)["state"]) == ("shared", "kept")
    assert any("2 problems that hipBLASLt can't tell apart" in message for message in outcome.messages)
    total = tuning.report()["total"]
    assert total["tuned_us"] == pytest.approx(20 * 3.0 + 10 * 2.0), "what the light one gets was not measured"


def test_fault_25_where_the_heaviest_does_best_without_a_row_none_is_written(tuning, gemm, quick):
    light, heavy = gemm(64, bias_vector=True), gemm(64)
    answers = {light: found(2.0, 1.0, indices=(1, 2)), heavy: found(4.0, 4.0, indices=(1, 1))}
    tuning.shapes(heavy, light)
    quick(Quick(answer=answers.__getitem__))
    tuning.run()
    assert not os.path.exists(tuning.request.results)
    assert "does best without a row" in tuning.shape(light)["reason"]

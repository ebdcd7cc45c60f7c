"""Measuring solutions in a child process, on the stand-in of a GPU whose times are known."""

from __future__ import annotations

import fcntl
import math
import os
import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.tuning.gemm import Gemm
from primus.tuning.hipblaslt.abi import Epilogue
from primus.tuning.measure import Settings
from primus.tuning.measure_data import TYPES, difference, random_block, tolerance
from primus.tuning.measure_problem import UnsupportedProblemError, check, elements, epilogue_of, for_architecture
from primus.tuning.measure_process import Failure, ask, measure_in_child
from primus.tuning.measure_times import Comparison, Times

SMALL = Gemm.single(m=24, n=16, k=40, a_type="f32_r", trans_a="T", bias_vector=True, beta=0.5)
LIMIT = 128 << 20
SETTINGS = Settings(max_workspace=LIMIT, rotating_bytes=1 << 20)

Measure = Callable[..., Any]


@pytest.fixture
def measured(rocm: Path) -> Measure:
    """Measures in a child process, with controls of the stand-in."""

    def run(gemm: Gemm = SMALL, settings: Settings = SETTINGS, timeout: float = 60, **environ: str) -> Any:
        return measure_in_child(gemm, settings, timeout=timeout, libraries=rocm / "lib", environ=os.environ | environ)

    return run


@pytest.fixture
def times(kernels: ModuleType) -> Callable[..., dict[int, float]]:
    """The time of each solution of a problem, the library's choice first."""

    def of(gemm: Gemm, limit: int = LIMIT, seed: str = "0") -> dict[int, float]:
        problem = {"m": gemm.m, "n": gemm.n, "k": gemm.k, "batch_count": gemm.batch, "epilogue": int(epilogue_of(gemm))}
        problem |= {"transA": gemm.trans_a, "transB": gemm.trans_b, "scaleA": gemm.scale_a, "scaleB": gemm.scale_b}
        problem |= {f"{name}_type": getattr(gemm, f"{name}_type") for name in ("a", "b", "c", "d", "compute")}
        ranked = kernels.ranked(problem, limit, seed=seed)
        return {index: kernels.time_us(problem, index, seed) for index in ranked}

    return of


def test_the_fastest_solution_is_found_and_compared_with_the_default(measured: Measure, times: Measure):
    answer, known = measured(), times(SMALL)
    default, best = next(iter(known)), min(known, key=known.__getitem__)
    assert (answer["default_index"], answer["tuned_index"]) == (default, best)
    assert answer["comparison"]["gain"] == pytest.approx(known[default] / known[best] - 1, rel=1e-3)
    assert answer["comparison"]["is_faster"]
    assert answer["error"] == 0.0
    assert (answer["solutions"], answer["screened"], answer["rejected"]) == (12, 12, {})


@pytest.mark.parametrize(
    "gemm",
    [
        Gemm.single(m=256, n=128, k=64, a_type="bf16_r", trans_b="T", batch=3),
        Gemm.single(m=64, n=48, k=32, a_type="f16_r", lda=100, activation="gelu", bias_vector=True, use_e=True),
        Gemm.single(m=64, n=48, k=32, a_type="f8_r", c_type="bf16_r", scale_a=1, scale_b=1, scale_d=True, amax_d=True),
        Gemm.single(
            m=64, n=48, k=32, a_type="bf16_r", c_type="f32_r", gradient=True, bias_vector=True, bias_source="b"
        ),
        Gemm.single(m=16, n=16, k=16, a_type="i8_r", c_type="i32_r", compute_type="i32_r"),
        Gemm.single(m=16, n=16, k=16, a_type="f64_r", compute_type="f64_r", alpha=-1.0, beta=1.0),
        Gemm.single(m=16, n=16, k=16, a_type="f32_r", compute_type="xf32_r", scale_alpha_vector=True),
    ],
    ids=lambda gemm: gemm.title,
)
def test_every_kind_of_problem_gets_the_memory_that_it_needs(measured: Measure, times: Measure, gemm: Gemm):
    answer, known = measured(gemm), times(gemm)
    assert not isinstance(answer, Failure), answer
    assert answer["tuned_index"] == min(known, key=known.__getitem__)


def test_solutions_beyond_the_trainings_workspace_are_not_even_tried(measured: Measure, times: Measure):
    answer = measured(settings=Settings(max_workspace=0, rotating_bytes=1))
    assert (answer["solutions"], answer["workspace"]) == (6, 0)
    known = times(SMALL, limit=0)
    assert answer["tuned_index"] == min(known, key=known.__getitem__)


def test_a_winner_with_a_wrong_result_is_rejected(measured: Measure, times: Measure):
    answer, known = measured(STANDIN_FAILURES="*:wrong"), times(SMALL)
    best, second = sorted(known, key=known.__getitem__)[:2]
    assert answer["tuned_index"] == second
    assert "its result differs from the default's by" in answer["rejected"][str(best)]


def test_a_solution_that_crashes_is_left_out(measured: Measure, times: Measure):
    crashing = sorted(times(SMALL))[4]
    answer = measured(STANDIN_FAILURES="*:segv-one")
    assert answer["rejected"] == {str(crashing): "it crashed"}
    assert answer["solutions"] == 11


def test_the_time_that_the_host_takes_is_not_measured(measured: Measure, times: Measure):
    answer, known = measured(STANDIN_HOST_US="15"), times(SMALL)
    for which in ("default", "tuned"):
        median = answer["comparison"][which]["median"]
        assert median == pytest.approx(known[answer[f"{which}_index"]], rel=1e-3)


def test_noise_is_not_taken_for_a_gain(measured: Measure):
    answer = measured(STANDIN_FAILURES="*:single", STANDIN_NOISE="0.3")
    assert answer["default_index"] == answer["tuned_index"]
    assert (answer["comparison"]["gain"], answer["comparison"]["is_faster"]) == (0.0, False)


def test_with_noise_the_gain_is_still_found(measured: Measure, times: Measure):
    answer, known = measured(STANDIN_NOISE="0.05"), times(SMALL)
    default, chosen = next(iter(known)), answer["tuned_index"]
    assert answer["comparison"]["gain"] == pytest.approx(known[default] / known[chosen] - 1, abs=0.05)
    assert answer["comparison"]["noise"] > 0


@pytest.mark.parametrize(
    ("environ", "kind", "message"),
    [
        ({"STANDIN_FAILURES": "*:none"}, "no-solution", "TN 24×16×40 f32_r: no solution of hipBLASLt: it has none"),
        ({"STANDIN_FAILURES": "*:oom"}, "out-of-memory", "hipblasLtMatmul: HIPBLAS_STATUS_ALLOC_FAILED (2)"),
        ({"STANDIN_FAILURES": "*:gone"}, "device-fault", "hipDeviceSynchronize: hipErrorLaunchFailure (719)"),
        ({"STANDIN_FAILURES": "*:abort"}, "crashed", "was ended by SIGABRT while solution"),
        ({"STANDIN_FAILURES": "*:exit"}, "crashed", "ended with status 1 while solution"),
        ({"STANDIN_MEMORY": str(26 << 20)}, "out-of-memory", "hipMalloc: hipErrorOutOfMemory (2)"),
        ({"STANDIN_MEMORY": str(1 << 20)}, "crashed", "hipblasLtCreate: out of memory"),
        ({"HIP_VISIBLE_DEVICES": "7"}, "no-device", "hipErrorNoDevice (100)"),
        ({"STANDIN_HIP_ERRORS": "hipEventElapsedTime:4:700"}, "device-fault", "hipErrorIllegalAddress"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_failures_are_told_apart(measured: Measure, environ: dict[str, str], kind: str, message: str):
    failure = measured(**environ)
    assert isinstance(failure, Failure), failure
    assert failure.kind == kind, failure
    assert message in failure.message


def test_a_kernel_that_hangs_is_ended_with_its_process(measured: Measure):
    failure = measured(timeout=3, STANDIN_FAILURES="*:hang")
    assert failure.kind == "timeout"
    assert failure.message.startswith("no answer within 3 s")


def test_variables_of_hipblaslt_do_not_change_what_is_measured(measured: Measure, times: Measure, tmp_path: Path):
    log = {"HIPBLASLT_LOG_MASK": "255", "HIPBLASLT_LOG_FILE": str(tmp_path / "log"), "HIPBLASLT_LOG_LEVEL": "5"}
    answer = measured(HIPBLASLT_TUNING_OVERRIDE_FILE="", **log)
    assert answer["default_index"] == next(iter(times(SMALL)))
    assert not (tmp_path / "log").exists()


def test_a_library_that_is_missing_is_said_so(tmp_path: Path):
    failure = measure_in_child(SMALL, SETTINGS, timeout=60, libraries=tmp_path)
    assert isinstance(failure, Failure)
    assert (failure.kind, "no libamdhip64.so there" in failure.message) == ("missing", True)


def test_the_library_and_its_devices_are_described(rocm: Path):
    answer = ask({"do": "describe"}, timeout=60, libraries=rocm / "lib", environ=os.environ | {"STANDIN_DEVICES": "2"})
    assert isinstance(answer, dict)
    assert (answer["version"], answer["git_revision"], len(answer["devices"])) == (100201, "fa9cdd18", 2)
    assert answer["devices"][0]["compute_units"] == 304


def test_the_librarys_own_choices_can_be_asked_for(rocm: Path, times: Measure):
    odd = Gemm.single(m=8, n=8, k=8, a_type="f4_r")
    request = {"do": "choose", "gemms": [SMALL.to_json(), odd.to_json()], "max_workspace": LIMIT}
    answer = ask(request, timeout=60, libraries=rocm / "lib")
    assert answer == {"indices": [next(iter(times(SMALL))), None]}


@pytest.mark.parametrize("wrong", [{"do": "dance"}, {"do": "measure", "gemm": {}, "settings": {}}, {"do": "measure"}])
def test_a_wrongthat_makes_no_sense_is_refused(rocm: Path, wrong: dict[str, Any]):
    failure = ask(wrong, timeout=60, libraries=rocm / "lib")
    assert isinstance(failure, Failure)
    assert failure.kind == "bad-request"


def test_a_default_that_computes_no_number_is_no_measure(measured: Measure):
    failure = measured(STANDIN_FAILURES="*:nan")
    assert (failure.kind, "no finite number" in failure.message) == ("meaningless", True)


def test_all_that_was_taken_from_the_device_is_given_back(measured: Measure, tmp_path: Path):
    leaks = tmp_path / "leaks"
    measured(STANDIN_LEAKS=str(leaks))
    assert leaks.read_text() == "0 0 0\n"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scale_a": 3, "scale_b": 3}, "scales by blocks"),
        ({"a_type": "f4_r"}, "type f4_r"),
        ({"swizzle_a": True, "trans_a": "T"}, "swizzled operands"),
        ({"batch_mode": 1, "batch": 2}, "arrays of pointers"),
        ({"activation": "silu"}, "no epilogue with silu"),
        ({"gradient": True, "bias_vector": True}, "no epilogue with none, gradient, bias_vector"),
    ],
)
def test_what_the_c_interface_cannot_do_is_refused(fields: dict[str, Any], reason: str):
    with pytest.raises(UnsupportedProblemError, match=reason):
        check(Gemm.single(**{"m": 8, "n": 8, "k": 8, "a_type": "bf16_r"} | fields))


def test_flags_make_the_epilogue():
    gemm = Gemm.single(m=8, n=8, k=8, a_type="bf16_r", activation="gelu", use_e=True, gradient=True, bias_vector=True)
    assert epilogue_of(gemm) is Epilogue.DGELU_BGRAD


def test_f8_means_another_type_on_mi300_than_on_mi350():
    gemm = Gemm.single(m=8, n=8, k=8, a_type="f8_r", b_type="bf8_r", c_type="bf16_r")
    old, new = (for_architecture(gemm, arch) for arch in ("gfx942:sramecc+:xnack-", "gfx950:sramecc+:xnack-"))
    assert (old.a_type, old.b_type, old.c_type) == ("f8_fnuz_r", "bf8_fnuz_r", "bf16_r")
    assert new == gemm


def test_memory_reaches_to_the_last_element_of_the_last_batch():
    gemm = Gemm.single(m=3, n=2, k=5, lda=10, a_type="f32_r", trans_a="T", batch=4, stride_a=100)
    assert elements(gemm, "a") == 3 * 100 + 2 * 10 + 5


@pytest.mark.parametrize("name", TYPES)
def test_random_elements_are_numbers_of_moderate_size(name: str):
    values = TYPES[name].decode(random_block(name, 1))
    assert len(values) == 65521
    assert all(abs(value) <= 4 for value in values)
    assert len(set(values)) > 8
    assert random_block(name, 1) == random_block(name, 1) != random_block(name, 2)


def test_bytes_that_were_never_written_are_no_numbers():
    floats = [name for name in TYPES if not name.startswith("i") and "fnuz" not in name]
    assert all(math.isnan(TYPES[name].decode(b"\xff" * TYPES[name].size)[0]) for name in floats)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bf16_is_the_upper_half_of_f32(value: float):
    half = struct.pack("<f", value)[2:]
    assert TYPES["bf16_r"].decode(half)[0] == struct.unpack("<f", b"\0\0" + half)[0]


@pytest.mark.parametrize(
    ("name", "byte", "value"),
    [
        ("f8_r", 0x38, 1.0),
        ("f8_fnuz_r", 0x40, 1.0),
        ("bf8_r", 0xBC, -1.0),
        ("bf8_fnuz_r", 0x40, 1.0),
        ("f8_r", 0x01, 2**-9),
    ],
)
def test_small_floats_are_read_by_their_bias(name: str, byte: int, value: float):
    assert TYPES[name].decode(bytes([byte])) == [value]


def test_a_difference_is_a_share_of_the_largest_element():
    assert difference([1.0, -4.0], [1.0, -4.2]) == pytest.approx(0.05)
    assert difference([0.0], [0.0]) == 0.0
    assert difference([1.0], [math.nan]) == math.inf
    assert difference([math.nan, 1.0], [1.0, 1.0]) == 0.0


def test_reduced_compute_types_may_be_further_apart():
    assert tolerance("f32_r", "f32_r") < tolerance("f32_r", "xf32_r") == tolerance("bf16_r", "f32_r")


def test_one_interrupted_round_moves_nothing():
    calm = Comparison(default=Times(samples=(10.0,) * 9), tuned=Times(samples=(8.0,) * 9))
    upset = Comparison(default=Times(samples=(10.0,) * 8 + (90.0,)), tuned=Times(samples=(8.0,) * 9))
    assert (upset.gain, upset.noise, upset.is_faster) == (calm.gain, calm.noise, True)


def test_a_gain_within_the_noise_is_none():
    default = Times(samples=tuple(array("d", [10, 12, 9, 11, 10.5, 9.5, 10, 12, 8])))
    tuned = Times(samples=tuple(array("d", [9.9, 10, 10.5, 11.5, 9, 10, 11, 10, 9])))
    assert not Comparison(default=default, tuned=tuned).is_faster


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=15))
def test_a_kernel_is_never_faster_than_itself(samples: list[float]):
    same = Times(samples=tuple(samples))
    assert not Comparison(default=same, tuned=same).is_faster


def test_rounds_must_match():
    with pytest.raises(ValueError, match="as many rounds"):
        Comparison(default=Times(samples=(1.0,)), tuned=Times(samples=(1.0, 2.0)))


def test_a_gpu_is_measured_on_by_one_process_at_a_time(measured: Measure, tmp_path: Path):
    with (tmp_path / "gpu-3").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failure = measured(STANDIN_DIRECTORY=str(tmp_path), HIP_VISIBLE_DEVICES="3")
    assert failure.kind == "crashed"
    assert "TWO ON ONE 3 24x16x40 library" in (tmp_path / "runs").read_text()
    assert not isinstance(measured(STANDIN_DIRECTORY=str(tmp_path), HIP_VISIBLE_DEVICES="2"), Failure)

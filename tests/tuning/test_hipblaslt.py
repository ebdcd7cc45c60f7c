"""hipBLASLt's bindings and the fake library behind them, which is as strict as the real one about its interface."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from ctypes import byref, c_float, c_int32, c_int64, c_void_p, sizeof
from pathlib import Path
from types import ModuleType

import pytest

from primus.tuning.hip import Hip
from primus.tuning.hipblaslt.abi import (
    DATA_TYPES,
    ComputeType,
    DataType,
    MatmulDescAttribute,
    MatrixLayoutAttribute,
    Order,
    PreferenceAttribute,
    ScaleMode,
    Status,
    TransformDescAttribute,
)
from primus.tuning.hipblaslt.library import Handle, HipblasLt, HipblasLtError
from primus.tuning.hipblaslt.structs import SIZES, HeuristicResult

F32 = DataType.R_32F


@pytest.fixture
def hip(rocm: Path) -> Hip:
    return Hip.load(rocm / "lib")


@pytest.fixture
def library(rocm: Path) -> HipblasLt:
    return HipblasLt.load(rocm / "lib")


@pytest.fixture
def handle(library: HipblasLt) -> Iterator[Handle]:
    with library.create() as made:
        yield made


class Multiplication:
    """m=2, n=3, k=4 in f32, op(A) transposed."""

    def __init__(self, stack: ExitStack, hip: Hip, handle: Handle) -> None:
        self.stack, self.hip, self.handle = stack, hip, handle
        self.desc = stack.enter_context(handle.matmul_desc(ComputeType.COMPUTE_32F, F32))
        self.desc.set(MatmulDescAttribute.TRANSA, 112)
        shapes = ((4, 2), (4, 3), (2, 3), (2, 3))
        library = handle.library
        self.layouts = tuple(stack.enter_context(library.layout(F32, *shape, shape[0])) for shape in shapes)

    def solutions(self, max_workspace: int = 128 << 20, requested: int = 65536) -> list[HeuristicResult]:
        with self.handle.library.preference(max_workspace) as preference:
            return self.handle.heuristics(self.desc, self.layouts, preference, requested)

    def run(self, alpha: float, beta: float, *matrices: list[float]) -> list[float]:
        buffers = [self.stack.enter_context(self.hip.malloc(4 * len(one))) for one in matrices]
        for buffer, matrix in zip(buffers, matrices, strict=True):
            self.hip.upload(buffer.pointer, array("f", matrix).tobytes())
        with self.hip.stream() as stream:
            start = self.handle.matmul_caller(
                self.desc,
                self.layouts,
                (c_float(alpha), c_float(beta)),
                algo=self.solutions(max_workspace=0)[0].algo,
                workspace=(c_void_p(), 0),
                stream=stream,
            )
            start(tuple(buffer.pointer for buffer in buffers))
        return array("f", self.hip.download(buffers[3].pointer, 24)).tolist()


@pytest.fixture
def multiplication(hip: Hip, handle: Handle) -> Iterator[Multiplication]:
    with ExitStack() as stack:
        yield Multiplication(stack, hip, handle)


def test_structs_have_the_sizes_of_the_library():
    assert {struct: sizeof(struct) for struct in SIZES} == SIZES


def test_the_build_is_known_by_its_revision(handle: Handle):
    assert (handle.version, handle.git_revision) == (100201, "fa9cdd18")


def test_a_solution_is_known_by_its_first_four_bytes(multiplication: Multiplication, kernels: ModuleType):
    problem = {"m": 2, "n": 3, "k": 4, "batch_count": 1, "transA": "T", "transB": "N", "epilogue": 1}
    problem |= {f"{name}_type": "f32_r" for name in ("a", "b", "c", "d", "compute")} | {"scaleA": 0, "scaleB": 0}
    found = multiplication.solutions()
    assert [each.algo.index for each in found] == kernels.ranked(problem, 128 << 20)
    assert bytes(found[0].algo.data[4:]) == b"\xa5" * 12, "the rest is the library's own"


def test_solutions_that_need_more_workspace_are_left_out(multiplication: Multiplication):
    needed = {
        limit: {each.workspace_size >> 20 for each in multiplication.solutions(limit << 20)} for limit in (0, 64, 128)
    }
    assert needed == {0: {0}, 64: {0, 16}, 128: {0, 16, 96}}


def test_as_many_solutions_as_were_asked_for(multiplication: Multiplication):
    assert len(multiplication.solutions(requested=3)) == 3


def test_none_asked_for_is_wrong(multiplication: Multiplication):
    with pytest.raises(HipblasLtError, match="INVALID_VALUE"):
        multiplication.solutions(requested=0)


def test_no_solution_is_an_empty_list(multiplication: Multiplication, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STANDIN_FAILURES", "2x3x4:none")
    assert multiplication.solutions() == []


def test_a_product_is_right(multiplication: Multiplication):
    a = [1, 2, 3, 4, 5, 6, 7, 8]  # columns of A, rows of op(A)
    b = [1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 1]
    c = [1, 2, 3, 4, 5, 6]
    assert multiplication.run(2.0, 1.0, a, b, c, [0] * 6) == [3, 12, 7, 16, 25, 58]


def test_bias_goes_along_the_rows(multiplication: Multiplication):
    with multiplication.hip.malloc(8) as bias:
        multiplication.hip.upload(bias.pointer, array("f", [10, 20]).tobytes())
        multiplication.desc.set(MatmulDescAttribute.EPILOGUE, 4)
        multiplication.desc.set(MatmulDescAttribute.BIAS_POINTER, bias.pointer.value)
        zeros: list[float] = [0] * 12
        assert multiplication.run(1.0, 0.0, zeros[:8], zeros, zeros[:6], zeros[:6]) == [10, 20] * 3


def test_a_matrix_that_is_not_in_device_memory_faults(client):
    code = "made = ready(Gemm.single(m=2, n=2, k=2, a_type='f32_r'))\nmade.matrices[0].pointers[0].value = 16\n"
    code += (
        "start = handle.matmul_caller(made.desc, made.layouts, made.scalars, workspace=(None, 0), stream=stream,\n"
        "    algo=handle.heuristics(made.desc, made.layouts, stack.enter_context(library.preference(0)))[0].algo)\n"
        "start(made.matrices[0].pointers)"
    )
    done = client(code)
    assert done.returncode == -6
    assert "Memory access fault" in done.stderr


def test_attributes_come_back_as_they_were_set(handle: Handle):
    with handle.library.layout(F32, 5, 6, 7) as layout:
        layout.set_batch(3, 100)
        shown = {attribute: layout.get(attribute) for attribute in MatrixLayoutAttribute}
    wanted = {"BATCH_COUNT": 3, "STRIDED_BATCH_OFFSET": 100, "TYPE": 0, "ORDER": 0, "ROWS": 5, "COLS": 6, "LD": 7}
    assert shown == {MatrixLayoutAttribute[name]: value for name, value in (wanted | {"BATCH_MODE": 0}).items()}


def test_every_attribute_of_a_multiplication_has_the_size_that_the_library_wants(handle: Handle):
    with handle.matmul_desc(ComputeType.COMPUTE_32F, F32) as desc:
        for attribute in MatmulDescAttribute:
            desc.set(attribute, 1)
            assert desc.get(attribute) == 1, attribute


@pytest.mark.parametrize("value", [c_int64(1), ctypes.c_int8(1)])
def test_a_value_of_another_size_is_refused(handle: Handle, value: ctypes._SimpleCData[int]):
    with handle.library.layout(F32, 5, 6, 7) as layout:
        code = handle.library._library.hipblasLtMatrixLayoutSetAttribute(
            layout.pointer, MatrixLayoutAttribute.BATCH_COUNT, byref(value), sizeof(value)
        )
    assert code == Status.INVALID_VALUE


def test_a_missing_handle_is_told_from_a_missing_value(library: HipblasLt):
    function = library._library.hipblasLtGetVersion
    assert function(None, byref(c_int32())) == Status.NOT_INITIALIZED
    with library.create() as handle:
        assert function(handle.pointer, None) == Status.INVALID_VALUE


def test_matrices_that_do_not_fit_are_refused(multiplication: Multiplication):
    multiplication.layouts[1].set(MatrixLayoutAttribute.ROWS, 9)
    with pytest.raises(HipblasLtError, match="hipblasLtMatmulAlgoGetHeuristic: HIPBLAS_STATUS_INVALID_VALUE"):
        multiplication.solutions()


def test_reused_numbers_are_refused_where_they_mean_something_else(library: HipblasLt, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STANDIN_VERSION", "1000")
    with library.create() as handle, handle.matmul_desc(ComputeType.COMPUTE_32F, F32) as desc:
        with pytest.raises(HipblasLtError, match="EPILOGUE_ACT_ARG0_EXT means something else in hipBLASLt 1000"):
            desc.set(MatmulDescAttribute.EPILOGUE_ACT_ARG0_EXT, 1.0)
        with pytest.raises(HipblasLtError, match=r"scale mode VEC32_UE8M0 came with hipBLASLt 1\.0"):
            desc.set_scale("A", c_void_p(64), ScaleMode.VEC32_UE8M0)


@pytest.mark.parametrize(("version", "codes"), [("1000", "v"), ("100201", "2")])
def test_scale_vectors_reach_old_and_new_libraries(client, version: str, codes: str):
    gemm = "Gemm.single(m=16, n=16, k=16, a_type='f8_r', c_type='bf16_r', scale_a=2, scale_b=2)"
    environ = {"STANDIN_VERSION": version, "STANDIN_LOG": "F1" if version == "1000" else "F3"}
    done = client(f"multiply({gemm})", HIPBLASLT_LOG_MASK="32", **environ)
    assert f"--scaleA {codes} --scaleB {codes} " in done.stderr, done.stderr


def test_newer_functions_are_looked_for_when_called(handle: Handle):
    handle.set_sm_count_target(200)
    assert handle.sm_count_target() == 200
    assert handle.check_numerics() == 0


def test_a_library_without_a_function_is_named(rocm: Path):
    with pytest.raises(HipblasLtError, match=r"hipblasLtCreate: HIPBLAS_STATUS_NOT_SUPPORTED.* does not have it"):
        HipblasLt.load(rocm / "lib" / "libamdhip64.so")


def test_a_transform_changes_the_order_of_elements(hip: Hip, handle: Handle):
    library = handle.library
    with ExitStack() as stack:
        desc = stack.enter_context(library.transform_desc(F32))
        desc.set(TransformDescAttribute.TRANSA, 111)
        columns, rows = (stack.enter_context(library.layout(F32, 2, 3, ld)) for ld in (2, 3))
        rows.set(MatrixLayoutAttribute.ORDER, Order.ROW)
        source, result = (stack.enter_context(hip.malloc(24)) for _ in range(2))
        stream = stack.enter_context(hip.stream())
        hip.upload(source.pointer, array("f", range(6)).tobytes())
        scalars = (c_float(1), c_float(0))
        matrices = (source.pointer, c_void_p(), result.pointer)
        handle.transform(desc, (columns, columns, rows), scalars, matrices, stream)
        assert array("f", hip.download(result.pointer, 24)).tolist() == [0, 2, 4, 1, 3, 5]


def test_the_workspace_is_a_preference(library: HipblasLt):
    with library.preference(1 << 33) as preference:
        assert preference.get(PreferenceAttribute.MAX_WORKSPACE_BYTES) == 1 << 33


def test_every_data_type_of_the_bench_can_be_laid_out(library: HipblasLt):
    for kind in DATA_TYPES.values():
        library.layout(kind, 1, 1, 1).close()

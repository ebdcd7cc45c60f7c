"""hipBLASLt's C functions with Python types. Used by measure.py and child.py."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from ctypes import byref, c_int, c_int32, c_size_t, c_uint32, c_void_p, sizeof
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from primus.errors import ExitStatus, PrimusError
from primus.tuning.hip import DeviceObject, Stream
from primus.tuning.hip_find import load_library
from primus.tuning.hipblaslt import structs
from primus.tuning.hipblaslt.abi import (
    REUSED,
    SCALE_MODES_SINCE,
    VECTOR_SCALE_POINTERS,
    ComputeType,
    DataType,
    MatmulDescAttribute,
    MatrixLayoutAttribute,
    PreferenceAttribute,
    ScaleMode,
    Status,
)
from primus.tuning.hipblaslt.structs import NEWER_SIGNATURES, SIGNATURES, Algo, HeuristicResult

EVERY_SOLUTION = 65536
"""As many results as there may be solutions: beyond the ranked ones, the library then adds all that it has."""

_REVISION_BYTES = 256


class HipblasLtError(PrimusError):
    """A call of hipBLASLt that failed."""

    status = ExitStatus.MISSING

    def __init__(self, call: str, code: int, detail: str = "") -> None:
        self.call, self.code = call, code
        try:
            self.name = f"HIPBLAS_STATUS_{Status(code).name}"
        except ValueError:
            self.name = f"status {code}"
        super().__init__(f"{call}: {self.name} ({code}){': ' if detail else ''}{detail}")


class HipblasLt:
    """The library of this machine."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        for name, arguments in SIGNATURES.items():
            self._declare(name, arguments)

    @classmethod
    def load(cls, explicit: Path | None = None) -> HipblasLt:
        return cls(load_library("hipblaslt", explicit))

    def _declare(self, name: str, arguments: tuple[Any, ...]) -> None:
        function = getattr(self._library, name, None)
        if function is None:
            raise HipblasLtError(name, Status.NOT_SUPPORTED, "this hipBLASLt does not have it")
        function.argtypes, function.restype = arguments, c_int32

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function and raise HipblasLtError unless it succeeds."""
        if name in NEWER_SIGNATURES:
            self._declare(name, NEWER_SIGNATURES[name])
        code = getattr(self._library, name)(*arguments)
        if code != Status.SUCCESS:
            raise HipblasLtError(name, code)

    def create(self) -> Handle:
        """A handle on the current device."""
        pointer = c_void_p()
        self.call("hipblasLtCreate", byref(pointer))
        return Handle(self, pointer)

    def layout(self, kind: DataType, rows: int, cols: int, ld: int) -> MatrixLayout:
        pointer = c_void_p()
        self.call("hipblasLtMatrixLayoutCreate", byref(pointer), kind, rows, cols, ld)
        return MatrixLayout(self, pointer)

    def preference(self, max_workspace: int) -> Preference:
        pointer = c_void_p()
        self.call("hipblasLtMatmulPreferenceCreate", byref(pointer))
        made = Preference(self, pointer)
        made.set(PreferenceAttribute.MAX_WORKSPACE_BYTES, max_workspace)
        return made

    def transform_desc(self, scale: DataType) -> TransformDesc:
        pointer = c_void_p()
        self.call("hipblasLtMatrixTransformDescCreate", byref(pointer), scale)
        return TransformDesc(self, pointer)


class Described(DeviceObject):
    """An opaque object of the library with attributes."""

    kind: str
    """As in the names of its functions."""
    types: Mapping[int, Any]
    """The C type of each attribute; the library refuses any other size."""

    def __init__(self, library: HipblasLt, pointer: c_void_p) -> None:
        super().__init__(pointer, lambda one: library.call(f"hipblasLt{self.kind}Destroy", one))
        self.library = library

    def set(self, attribute: IntEnum, value: Any) -> None:
        self._set(attribute, self.types[attribute](value))

    def _set(self, attribute: int, value: Any) -> None:
        self.library.call(f"hipblasLt{self.kind}SetAttribute", self.pointer, attribute, byref(value), sizeof(value))

    def get(self, attribute: IntEnum) -> Any:
        value, written = self.types[attribute](), c_size_t()
        name = f"hipblasLt{self.kind}GetAttribute"
        self.library.call(name, self.pointer, attribute, byref(value), sizeof(value), byref(written))
        return value.value


class MatrixLayout(Described):
    """The size, type and stride of a matrix."""

    kind, types = "MatrixLayout", structs.LAYOUT_TYPES

    def set_batch(self, count: int, stride: int) -> None:
        self.set(MatrixLayoutAttribute.BATCH_COUNT, count)
        self.set(MatrixLayoutAttribute.STRIDED_BATCH_OFFSET, stride)


class Preference(Described):
    """What to look for among the solutions."""

    kind, types = "MatmulPreference", structs.PREFERENCE_TYPES


class TransformDesc(Described):
    """What a matrix transform does."""

    kind, types = "MatrixTransformDesc", structs.TRANSFORM_TYPES


class MatmulDesc(Described):
    """What a multiplication does beyond its matrices."""

    kind, types = "MatmulDesc", structs.DESC_TYPES

    def __init__(self, library: HipblasLt, pointer: c_void_p, version: int) -> None:
        super().__init__(library, pointer)
        self._version = version

    def set(self, attribute: IntEnum, value: Any) -> None:
        if attribute in REUSED and self._version < SCALE_MODES_SINCE:
            detail = f"{attribute.name} means something else in hipBLASLt {self._version}: it came with 1.0 (ROCm 7)"
            raise HipblasLtError("hipblasLtMatmulDescSetAttribute", Status.NOT_SUPPORTED, detail)
        super().set(attribute, value)

    def set_scale(self, operand: str, pointer: c_void_p, mode: ScaleMode) -> None:
        """Scales of operand `A` or `B`. Before ROCm 7, a vector had its own attribute and there was no other mode."""
        scalar = MatmulDescAttribute[f"{operand}_SCALE_POINTER"]
        if self._version >= SCALE_MODES_SINCE:
            self.set(scalar, pointer.value)
            self.set(MatmulDescAttribute[f"{operand}_SCALE_MODE"], mode)
        elif mode is ScaleMode.SCALAR_32F:
            self.set(scalar, pointer.value)
        elif mode is ScaleMode.OUTER_VEC_32F:
            self._set(VECTOR_SCALE_POINTERS[operand], pointer)
        else:
            detail = f"scale mode {mode.name} came with hipBLASLt 1.0, this is {self._version}"
            raise HipblasLtError("hipblasLtMatmulDescSetAttribute", Status.NOT_SUPPORTED, detail)


class Handle(DeviceObject):
    """hipBLASLt on one device."""

    def __init__(self, library: HipblasLt, pointer: c_void_p) -> None:
        super().__init__(pointer, lambda one: library.call("hipblasLtDestroy", one))
        self.library = library

    @cached_property
    def version(self) -> int:
        """MAJOR * 100000 + MINOR * 100 + PATCH; it does not tell one build from another."""
        value = c_int()
        self.library.call("hipblasLtGetVersion", self.pointer, byref(value))
        return value.value

    @cached_property
    def git_revision(self) -> str:
        """What identifies the build, and so the solution indices."""
        text = ctypes.create_string_buffer(_REVISION_BYTES)
        self.library.call("hipblasLtGetGitRevision", self.pointer, text)
        return text.value.decode(errors="replace")

    def matmul_desc(self, compute: ComputeType, scale: DataType) -> MatmulDesc:
        pointer = c_void_p()
        self.library.call("hipblasLtMatmulDescCreate", byref(pointer), compute, scale)
        return MatmulDesc(self.library, pointer, self.version)

    def heuristics(
        self,
        desc: MatmulDesc,
        layouts: tuple[MatrixLayout, ...],
        preference: Preference,
        requested: int = EVERY_SOLUTION,
    ) -> list[HeuristicResult]:
        """Solutions for a problem (layouts: A, B, C, D), the library's own choice first; none is an empty list."""
        results, returned = (HeuristicResult * requested)(), c_int()
        arguments = (desc.pointer, *(one.pointer for one in layouts), preference.pointer)
        try:
            self.library.call(
                "hipblasLtMatmulAlgoGetHeuristic", self.pointer, *arguments, requested, results, byref(returned)
            )
        except HipblasLtError as error:
            if error.code == Status.NOT_SUPPORTED:  # the library's way to say that it found none
                return []
            raise
        return [HeuristicResult.from_buffer_copy(results[place]) for place in range(returned.value)]

    def matmul_caller(
        self,
        desc: MatmulDesc,
        layouts: tuple[MatrixLayout, ...],
        scalars: tuple[Any, Any],
        *,
        algo: Algo,
        workspace: tuple[c_void_p, int],
        stream: Stream,
    ) -> Callable[[tuple[c_void_p, ...]], None]:
        """A function that starts one multiplication D = alpha op(A) op(B) + beta C on the pointers A, B, C, D."""
        alpha, beta = (byref(scalar) for scalar in scalars)
        a_layout, b_layout, c_layout, d_layout = (one.pointer for one in layouts)
        last = (byref(algo), *workspace, stream.pointer)

        def start(matrices: tuple[c_void_p, ...]) -> None:
            a, b, c, d = matrices
            operands = (alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout)
            self.library.call("hipblasLtMatmul", self.pointer, desc.pointer, *operands, *last)

        return start

    def transform(
        self,
        desc: TransformDesc,
        layouts: tuple[MatrixLayout, MatrixLayout, MatrixLayout],
        scalars: tuple[Any, Any],
        matrices: tuple[c_void_p, c_void_p, c_void_p],
        stream: Stream,
    ) -> None:
        """C = alpha op(A) + beta op(B), from one order of elements to another."""
        alpha, beta = (byref(scalar) for scalar in scalars)
        a, b, c = matrices
        a_layout, b_layout, c_layout = (one.pointer for one in layouts)
        operands = (alpha, a, a_layout, beta, b, b_layout, c, c_layout)
        self.library.call("hipblasLtMatrixTransform", self.pointer, desc.pointer, *operands, stream.pointer)

    def set_sm_count_target(self, count: int) -> None:
        """How many compute units to use; since 2026."""
        self.library.call("hipblasLtSetSmCountTarget", self.pointer, count)

    def sm_count_target(self) -> int:
        value = c_int32()
        self.library.call("hipblasLtGetSmCountTarget", self.pointer, byref(value))
        return value.value

    def check_numerics(self) -> int:
        """The flags that the library's own check of numbers raised since the last call; since 2026."""
        value = c_uint32()
        self.library.call("hipblasLtCheckNumericsDrain", self.pointer, byref(value))
        return value.value

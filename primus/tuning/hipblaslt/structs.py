"""The structs and signatures of hipBLASLt's C interface for ctypes, used by library.py."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from typing import Any

from primus.tuning.hipblaslt.abi import (
    MatmulDescAttribute,
    MatrixLayoutAttribute,
    PreferenceAttribute,
    TransformDescAttribute,
)


class Algo(ctypes.Structure):
    """hipblasLtMatmulAlgo_t. Only the first four bytes mean the same in every version: the solution index."""

    _fields_ = (("data", c_uint8 * 16), ("max_workspace_bytes", c_size_t))

    @property
    def index(self) -> int:
        """The solution index; negative when there is none."""
        return int.from_bytes(bytes(self.data[:4]), "little", signed=True)


class HeuristicResult(ctypes.Structure):
    """hipblasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algo", Algo),
        ("workspace_size", c_size_t),
        ("state", c_int32),
        ("waves_count", c_float),
        ("reserved", c_int32 * 4),
    )


SIZES: dict[type[ctypes.Structure], int] = {Algo: 24, HeuristicResult: 56}
"""What the library's compiler makes of them."""

HANDLE = LAYOUT = DESC = PREFERENCE = TRANSFORM = STREAM = c_void_p

_ATTRIBUTE = (c_void_p, c_int32, c_void_p, c_size_t)
"""Object, attribute, buffer, bytes."""

SIGNATURES: dict[str, tuple[Any, ...]] = {
    "hipblasLtCreate": (POINTER(HANDLE),),
    "hipblasLtDestroy": (HANDLE,),
    "hipblasLtGetVersion": (HANDLE, POINTER(c_int)),
    "hipblasLtGetGitRevision": (HANDLE, c_char_p),
    "hipblasLtMatrixLayoutCreate": (POINTER(LAYOUT), c_int32, c_uint64, c_uint64, c_int64),
    "hipblasLtMatrixLayoutDestroy": (LAYOUT,),
    "hipblasLtMatrixLayoutSetAttribute": _ATTRIBUTE,
    "hipblasLtMatrixLayoutGetAttribute": (*_ATTRIBUTE, POINTER(c_size_t)),
    "hipblasLtMatmulDescCreate": (POINTER(DESC), c_int32, c_int32),
    "hipblasLtMatmulDescDestroy": (DESC,),
    "hipblasLtMatmulDescSetAttribute": _ATTRIBUTE,
    "hipblasLtMatmulDescGetAttribute": (*_ATTRIBUTE, POINTER(c_size_t)),
    "hipblasLtMatmulPreferenceCreate": (POINTER(PREFERENCE),),
    "hipblasLtMatmulPreferenceDestroy": (PREFERENCE,),
    "hipblasLtMatmulPreferenceSetAttribute": _ATTRIBUTE,
    "hipblasLtMatmulPreferenceGetAttribute": (*_ATTRIBUTE, POINTER(c_size_t)),
    "hipblasLtMatmulAlgoGetHeuristic": (
        *(HANDLE, DESC, LAYOUT, LAYOUT, LAYOUT, LAYOUT, PREFERENCE),
        *(c_int, POINTER(HeuristicResult), POINTER(c_int)),
    ),
    "hipblasLtMatmul": (
        *(HANDLE, DESC, c_void_p, c_void_p, LAYOUT, c_void_p, LAYOUT, c_void_p, c_void_p, LAYOUT, c_void_p, LAYOUT),
        *(POINTER(Algo), c_void_p, c_size_t, STREAM),
    ),
    "hipblasLtMatrixTransformDescCreate": (POINTER(TRANSFORM), c_int32),
    "hipblasLtMatrixTransformDescDestroy": (TRANSFORM,),
    "hipblasLtMatrixTransformDescSetAttribute": _ATTRIBUTE,
    "hipblasLtMatrixTransformDescGetAttribute": (*_ATTRIBUTE, POINTER(c_size_t)),
    "hipblasLtMatrixTransform": (
        *(HANDLE, TRANSFORM, c_void_p, c_void_p, LAYOUT, c_void_p, c_void_p, LAYOUT, c_void_p, LAYOUT, STREAM),
    ),
}
"""What every version has, but for GetArchName: it returns a text that may not end."""

NEWER_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "hipblasLtSetSmCountTarget": (HANDLE, c_int32),
    "hipblasLtGetSmCountTarget": (HANDLE, POINTER(c_int32)),
    "hipblasLtCheckNumericsDrain": (HANDLE, POINTER(c_uint32)),
}
"""Since 2026; looked for when they are called."""

LAYOUT_TYPES: dict[int, Any] = {
    MatrixLayoutAttribute.BATCH_COUNT: c_int32,
    MatrixLayoutAttribute.STRIDED_BATCH_OFFSET: c_int64,
    MatrixLayoutAttribute.TYPE: c_uint32,
    MatrixLayoutAttribute.ORDER: c_int32,
    MatrixLayoutAttribute.ROWS: c_uint64,
    MatrixLayoutAttribute.COLS: c_uint64,
    MatrixLayoutAttribute.LD: c_int64,
    MatrixLayoutAttribute.BATCH_MODE: c_int32,
}

_DESC_NUMBERS: dict[int, Any] = {
    MatmulDescAttribute.EPILOGUE: c_uint32,
    MatmulDescAttribute.EPILOGUE_AUX_LD: c_int64,
    MatmulDescAttribute.EPILOGUE_AUX_BATCH_STRIDE: c_int64,
    MatmulDescAttribute.BIAS_BATCH_STRIDE: c_int64,
    MatmulDescAttribute.A_SCALE_MODE: c_uint32,
    MatmulDescAttribute.B_SCALE_MODE: c_uint32,
    MatmulDescAttribute.EPILOGUE_ACT_ARG0_EXT: c_float,
    MatmulDescAttribute.EPILOGUE_ACT_ARG1_EXT: c_float,
}

DESC_TYPES: dict[int, Any] = {
    attribute: _DESC_NUMBERS.get(attribute, c_void_p if attribute.name.endswith("_POINTER") else c_int32)
    for attribute in MatmulDescAttribute
}

PREFERENCE_TYPES: dict[int, Any] = {
    PreferenceAttribute.SEARCH_MODE: c_uint32,
    PreferenceAttribute.MAX_WORKSPACE_BYTES: c_uint64,
    PreferenceAttribute.SM_COUNT_TARGET: c_int32,
}

TRANSFORM_TYPES: dict[int, Any] = dict.fromkeys(TransformDescAttribute, c_int32)

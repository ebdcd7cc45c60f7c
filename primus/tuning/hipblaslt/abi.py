"""The numbers of hipBLASLt's C interface, as its header defines them; checked against AMD's own bindings in tests."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """hipblasStatus_t."""

    SUCCESS = 0
    NOT_INITIALIZED = 1
    ALLOC_FAILED = 2
    INVALID_VALUE = 3
    MAPPING_ERROR = 4
    EXECUTION_FAILED = 5
    INTERNAL_ERROR = 6
    NOT_SUPPORTED = 7
    ARCH_MISMATCH = 8
    HANDLE_IS_NULLPTR = 9
    INVALID_ENUM = 10
    UNKNOWN = 11


class Operation(IntEnum):
    """hipblasOperation_t."""

    N = 111
    T = 112
    C = 113


class ComputeType(IntEnum):
    """hipblasComputeType_t."""

    COMPUTE_16F = 0
    COMPUTE_16F_PEDANTIC = 1
    COMPUTE_32F = 2
    COMPUTE_32F_PEDANTIC = 3
    COMPUTE_32F_FAST_16F = 4
    COMPUTE_32F_FAST_16BF = 5
    COMPUTE_32F_FAST_TF32 = 6
    COMPUTE_64F = 7
    COMPUTE_64F_PEDANTIC = 8
    COMPUTE_32I = 9
    COMPUTE_32I_PEDANTIC = 10


class DataType(IntEnum):
    """hipDataType: those that hipBLASLt multiplies or scales with."""

    R_32F = 0
    R_64F = 1
    R_16F = 2
    R_8I = 3
    C_32F = 4
    C_64F = 5
    R_32I = 10
    R_16BF = 14
    R_8F_E4M3 = 28
    R_8F_E5M2 = 29
    R_8F_UE8M0 = 30
    R_6F_E2M3 = 31
    R_6F_E3M2 = 32
    R_4F_E2M1 = 33
    R_8F_E4M3_FNUZ = 1000
    R_8F_E5M2_FNUZ = 1001


class Epilogue(IntEnum):
    """hipblasLtEpilogue_t."""

    DEFAULT = 1
    RELU = 2
    BIAS = 4
    RELU_BIAS = 6
    GELU = 32
    GELU_BIAS = 36
    RELU_AUX = 130
    RELU_AUX_BIAS = 134
    DRELU = 136
    DRELU_BGRAD = 152
    GELU_AUX = 160
    GELU_AUX_BIAS = 164
    DGELU = 192
    DGELU_BGRAD = 208
    BGRADA = 256
    BGRADB = 512
    SIGMOID = 1024
    SWISH_EXT = 65536
    SWISH_BIAS_EXT = 65540
    CLAMP_EXT = 131072
    CLAMP_BIAS_EXT = 131076
    CLAMP_AUX_EXT = 131200
    CLAMP_AUX_BIAS_EXT = 131204


class MatrixLayoutAttribute(IntEnum):
    """hipblasLtMatrixLayoutAttribute_t; cuBLASLt numbers these differently."""

    BATCH_COUNT = 0
    STRIDED_BATCH_OFFSET = 1
    TYPE = 2
    ORDER = 3
    ROWS = 4
    COLS = 5
    LD = 6
    BATCH_MODE = 7


class Order(IntEnum):
    """hipblasLtOrder_t."""

    COL = 0
    ROW = 1
    COL16_4R32 = 99
    COL16_4R16 = 100
    COL16_4R8 = 101
    COL16_4R4 = 102
    COL16_4R2 = 103


class BatchMode(IntEnum):
    """hipblasLtBatchMode_t."""

    STRIDED = 0
    POINTER_ARRAY = 1


class PointerMode(IntEnum):
    """hipblasLtPointerMode_t."""

    HOST = 0
    DEVICE = 1
    ALPHA_DEVICE_VECTOR_BETA_HOST = 4


class MatmulDescAttribute(IntEnum):
    """hipblasLtMatmulDescAttributes_t, as since version 1.0 (see REUSED)."""

    TRANSA = 0
    TRANSB = 1
    EPILOGUE = 2
    BIAS_POINTER = 3
    BIAS_DATA_TYPE = 4
    A_SCALE_POINTER = 5
    B_SCALE_POINTER = 6
    C_SCALE_POINTER = 7
    D_SCALE_POINTER = 8
    EPILOGUE_AUX_SCALE_POINTER = 9
    EPILOGUE_AUX_POINTER = 10
    EPILOGUE_AUX_LD = 11
    EPILOGUE_AUX_BATCH_STRIDE = 12
    POINTER_MODE = 13
    AMAX_D_POINTER = 14
    EPILOGUE_AUX_DATA_TYPE = 22
    BIAS_BATCH_STRIDE = 23
    A_SCALE_MODE = 31
    B_SCALE_MODE = 32
    SM_COUNT_TARGET = 33
    COMPUTE_INPUT_TYPE_A_EXT = 100
    COMPUTE_INPUT_TYPE_B_EXT = 101
    EPILOGUE_ACT_ARG0_EXT = 102
    EPILOGUE_ACT_ARG1_EXT = 103
    STREAMK_TILE_SCHEDULING_EXT = 104


SCALE_MODES_SINCE = 100000
"""Version 1.0 (ROCm 7) brought A/B_SCALE_MODE and gave the numbers of VECTOR_SCALE_POINTERS another meaning."""

REUSED = frozenset({MatmulDescAttribute.EPILOGUE_ACT_ARG0_EXT, MatmulDescAttribute.EPILOGUE_ACT_ARG1_EXT})
"""Attributes that mean something else before SCALE_MODES_SINCE."""

VECTOR_SCALE_POINTERS = {"A": 102, "B": 103}
"""A/B_SCALE_POINTER_VEC_EXT, before SCALE_MODES_SINCE."""


class ScaleMode(IntEnum):
    """hipblasLtMatmulMatrixScale_t; not the numbers of the bench's --scaleA."""

    SCALAR_32F = 0
    VEC16_UE4M3 = 1
    VEC32_UE8M0 = 2
    OUTER_VEC_32F = 3
    VEC128_32F = 4
    BLK128x128_32F = 5
    BLK32_UE8M0_32_8_EXT = 1001
    VEC16_UE8M0_EXT = 1002
    VEC32_UE4M3_EXT = 1003
    VEC16_UE5M3_EXT = 1004
    VEC32_UE5M3_EXT = 1005


class PreferenceAttribute(IntEnum):
    """hipblasLtMatmulPreferenceAttributes_t."""

    SEARCH_MODE = 0
    MAX_WORKSPACE_BYTES = 1
    SM_COUNT_TARGET = 2
    """Since version 1.0; no attribute of that number before."""


class TransformDescAttribute(IntEnum):
    """hipblasLtMatrixTransformDescAttributes_t."""

    SCALE_TYPE = 0
    POINTER_MODE = 1
    TRANSA = 2
    TRANSB = 3


DATA_TYPES = {
    "f32_r": DataType.R_32F,
    "f64_r": DataType.R_64F,
    "f16_r": DataType.R_16F,
    "bf16_r": DataType.R_16BF,
    "i8_r": DataType.R_8I,
    "i32_r": DataType.R_32I,
    "f8_r": DataType.R_8F_E4M3,
    "bf8_r": DataType.R_8F_E5M2,
    "f8_fnuz_r": DataType.R_8F_E4M3_FNUZ,
    "bf8_fnuz_r": DataType.R_8F_E5M2_FNUZ,
    "f6_r": DataType.R_6F_E2M3,
    "bf6_r": DataType.R_6F_E3M2,
    "f4_r": DataType.R_4F_E2M1,
    "f32_c": DataType.C_32F,
    "f64_c": DataType.C_64F,
}
"""The bench's names of data types."""

FNUZ = {DataType.R_8F_E4M3: DataType.R_8F_E4M3_FNUZ, DataType.R_8F_E5M2: DataType.R_8F_E5M2_FNUZ}
"""What gfx942 has in the place of the OCP types; the log writes `f8_r` for both."""

COMPUTE_TYPES = {
    "f32_r": ComputeType.COMPUTE_32F,
    "f32_f16_r": ComputeType.COMPUTE_32F_FAST_16F,
    "f32_bf16_r": ComputeType.COMPUTE_32F_FAST_16BF,
    "xf32_r": ComputeType.COMPUTE_32F_FAST_TF32,
    "f64_r": ComputeType.COMPUTE_64F,
    "i32_r": ComputeType.COMPUTE_32I,
}
"""The bench's names of compute types."""

"""AMD's own Python bindings (rocm-bindings-libraries) judge our tables and the fake libraries."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from primus.tuning.hip import HipStatus
from primus.tuning.hipblaslt import abi

CLIENT = Path(__file__).parent / "standins" / "amd_client.py"

ENUMS: dict[str, tuple[type[IntEnum], str]] = {
    "hipblasStatus_t": (abi.Status, "HIPBLAS_STATUS_"),
    "hipblasOperation_t": (abi.Operation, "HIPBLAS_OP_"),
    "hipblasComputeType_t": (abi.ComputeType, "HIPBLAS_"),
    "hipDataType": (abi.DataType, "HIP_"),
    "hipblasLtEpilogue_t": (abi.Epilogue, "HIPBLASLT_EPILOGUE_"),
    "hipblasLtMatrixLayoutAttribute_t": (abi.MatrixLayoutAttribute, "HIPBLASLT_MATRIX_LAYOUT_"),
    "hipblasLtOrder_t": (abi.Order, "HIPBLASLT_ORDER_"),
    "hipblasLtBatchMode_t": (abi.BatchMode, "HIPBLASLT_BATCH_MODE_"),
    "hipblasLtPointerMode_t": (abi.PointerMode, "HIPBLASLT_POINTER_MODE_"),
    "hipblasLtMatmulDescAttributes_t": (abi.MatmulDescAttribute, "HIPBLASLT_MATMUL_DESC_"),
    "hipblasLtMatmulMatrixScale_t": (abi.ScaleMode, "HIPBLASLT_MATMUL_MATRIX_SCALE_"),
    "hipblasLtMatmulPreferenceAttributes_t": (abi.PreferenceAttribute, "HIPBLASLT_MATMUL_PREF_"),
    "hipblasLtMatrixTransformDescAttributes_t": (abi.TransformDescAttribute, "HIPBLASLT_MATRIX_TRANSFORM_DESC_"),
}

LEFT_OUT = {"hipblasComputeType_t", "hipDataType"}
"""Of which we have those that hipBLASLt's callers need."""

amd = pytest.mark.skipif(
    importlib.util.find_spec("rocm") is None, reason="AMD's bindings (rocm-bindings-libraries) are not installed"
)


@pytest.fixture(scope="module")
def answers(rocm: Path) -> dict[str, Any]:
    environ = os.environ | {"ROCM_PATH": str(rocm)}
    done = subprocess.run(
        [sys.executable, str(CLIENT)], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@amd
@pytest.mark.parametrize("name", ENUMS)
def test_our_numbers_are_those_of_amd(answers: dict[str, Any], name: str):
    ours, prefix = ENUMS[name]
    theirs = answers["enums"][name]
    assert {f"{prefix}{each.name}": each.value for each in ours}.items() <= theirs.items()
    unknown = {member for member in theirs if member.removeprefix(prefix) not in ours.__members__}
    unknown = {member for member in unknown if not member.endswith(("_MAX", "_END"))}
    if name not in LEFT_OUT:
        assert not unknown


@amd
def test_our_numbers_of_hip_are_those_of_amd(answers: dict[str, Any]):
    theirs = answers["enums"]["hipError_t"]
    names = {f"hipError{each.name.title().replace('_', '')}": each.value for each in HipStatus if each.value}
    assert names.items() <= theirs.items()


@amd
def test_amds_bindings_read_the_fake_devices_properties(answers: dict[str, Any]):
    assert answers["device"] == {
        "count": 4,
        "arch": "gfx942:sramecc+:xnack-",
        "compute_units": 304,
        "memory": 1 << 29,
        "l2": 4 << 20,
        "pci_bus": 3,
        "warp": 64,
        "major": 9,
    }


@amd
def test_amds_bindings_multiply_with_the_fake_library(answers: dict[str, Any], kernels: ModuleType):
    problem = {"m": 2, "n": 3, "k": 4, "batch_count": 1, "transA": "T", "transB": "N", "epilogue": 1}
    problem |= {f"{name}_type": "f32_r" for name in ("a", "b", "c", "d", "compute")} | {"scaleA": 0, "scaleB": 0}
    ranked = kernels.ranked(problem, 0)
    assert answers["product"] == {
        "count": len(ranked),
        "index": ranked[0],
        "product": [14, 38, 38, 126, 62, 214],
        "version": 100201,
        "revision": "fa9cdd18",
    }

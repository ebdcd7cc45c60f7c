"""Drives whatever libhipblaslt.so and libamdhip64.so ROCM_PATH has with AMD's own Python bindings; prints JSON."""

import ctypes
import enum
import json
from array import array

from rocm.bindings import hip, hipblas, hipblaslt

WANTED = ("hipblas", "hipData", "hipError")


def enums():
    found = {}
    for module in (hip, hipblas, hipblaslt):
        for name in dir(module):
            kind = getattr(module, name)
            if isinstance(kind, type) and issubclass(kind, enum.IntEnum) and name.startswith(WANTED):
                found[name] = {member: int(value) for member, value in kind.__members__.items()}
    return found


def good(answer):
    """The values of a call that succeeded."""
    status, *values = answer
    assert int(status) == 0, status
    return values[0] if values else None


def attribute(function, thing, number, value):
    good(function(thing, number, ctypes.addressof(value), ctypes.sizeof(value)))


def device():
    properties = good(hip.hipGetDeviceProperties(0))
    text = properties.gcnArchName
    return {
        "count": good(hip.hipGetDeviceCount()),
        "arch": text.decode() if isinstance(text, bytes) else text,
        "compute_units": properties.multiProcessorCount,
        "memory": properties.totalGlobalMem,
        "l2": properties.l2CacheSize,
        "pci_bus": properties.pciBusID,
        "warp": properties.warpSize,
        "major": properties.major,
    }


def product():
    """2 x 3 x 4, the first operand transposed, with the library's first choice."""
    kind = hip.hipDataType.HIP_R_32F
    handle = good(hipblaslt.hipblasLtCreate())
    desc = good(hipblaslt.hipblasLtMatmulDescCreate(hipblas.hipblasComputeType_t.HIPBLAS_COMPUTE_32F, kind))
    names = hipblaslt.hipblasLtMatmulDescAttributes_t
    attribute(hipblaslt.hipblasLtMatmulDescSetAttribute, desc, names.HIPBLASLT_MATMUL_DESC_TRANSA, ctypes.c_int32(112))
    preference = good(hipblaslt.hipblasLtMatmulPreferenceCreate())
    limit = hipblaslt.hipblasLtMatmulPreferenceAttributes_t.HIPBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
    attribute(hipblaslt.hipblasLtMatmulPreferenceSetAttribute, preference, limit, ctypes.c_uint64(0))
    a, b, c = (
        good(hipblaslt.hipblasLtMatrixLayoutCreate(kind, rows, columns, rows))
        for rows, columns in ((4, 2), (4, 3), (2, 3))
    )
    results = (ctypes.c_char * (56 * 16))()
    address = ctypes.addressof(results)
    count = good(hipblaslt.hipblasLtMatmulAlgoGetHeuristic(handle, desc, a, b, c, c, preference, 16, address))
    buffers = [good(hip.hipMalloc(4 * size)) for size in (8, 12, 6)]
    copied = hip.hipMemcpyKind
    for buffer, size in zip(buffers, (8, 12, 6), strict=True):
        data = array("f", range(size)).tobytes()
        good(hip.hipMemcpy(buffer, data, len(data), copied.hipMemcpyHostToDevice))
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    alpha, beta = ctypes.addressof(one), ctypes.addressof(zero)
    data_a, data_b, data_d = buffers
    good(
        hipblaslt.hipblasLtMatmul(
            handle, desc, alpha, data_a, a, data_b, b, beta, data_d, c, data_d, c, address, None, 0, None
        )
    )
    answer = bytearray(24)
    good(hip.hipMemcpy(answer, data_d, 24, copied.hipMemcpyDeviceToHost))
    revision = bytearray(128)
    good(hipblaslt.hipblasLtGetGitRevision(handle, revision))
    return {
        "count": count,
        "index": int.from_bytes(results.raw[:4], "little"),
        "product": array("f", bytes(answer)).tolist(),
        "version": good(hipblaslt.hipblasLtGetVersion(handle)),
        "revision": revision.partition(b"\0")[0].decode(),
    }


if __name__ == "__main__":
    print(json.dumps({"enums": enums(), "device": device(), "product": product()}))

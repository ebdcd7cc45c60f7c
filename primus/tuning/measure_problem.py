"""A Gemm made into what hipBLASLt takes: descriptors, and matrices in device memory. measure.py runs it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
from collections.abc import Iterator
from ctypes import c_double, c_float, c_int32, c_void_p
from dataclasses import dataclass
from typing import Any

from primus.errors import ExitStatus, PrimusError
from primus.tuning.gemm import Gemm
from primus.tuning.hip import Buffer, Hip
from primus.tuning.hipblaslt import abi
from primus.tuning.hipblaslt.abi import DataType, Epilogue, MatmulDescAttribute, Operation, PointerMode, ScaleMode
from primus.tuning.hipblaslt.library import Handle, MatmulDesc, MatrixLayout
from primus.tuning.measure_data import TYPES, random_block

FNUZ_ARCHITECTURES = ("gfx940", "gfx941", "gfx942")
"""Where `f8_r` in a log means the FNUZ type."""

_FNUZ = {"f8_r": "f8_fnuz_r", "bf8_r": "bf8_fnuz_r"}

EPILOGUES = {  # activation, bias, auxiliary matrix, gradient
    ("none", False, False, False): Epilogue.DEFAULT,
    ("none", True, False, False): Epilogue.BIAS,
    ("relu", False, False, False): Epilogue.RELU,
    ("relu", True, False, False): Epilogue.RELU_BIAS,
    ("relu", False, True, False): Epilogue.RELU_AUX,
    ("relu", True, True, False): Epilogue.RELU_AUX_BIAS,
    ("relu", False, True, True): Epilogue.DRELU,
    ("relu", True, True, True): Epilogue.DRELU_BGRAD,
    ("gelu", False, False, False): Epilogue.GELU,
    ("gelu", True, False, False): Epilogue.GELU_BIAS,
    ("gelu", False, True, False): Epilogue.GELU_AUX,
    ("gelu", True, True, False): Epilogue.GELU_AUX_BIAS,
    ("gelu", False, True, True): Epilogue.DGELU,
    ("gelu", True, True, True): Epilogue.DGELU_BGRAD,
    ("sigmoid", False, False, False): Epilogue.SIGMOID,
    ("swish", False, False, False): Epilogue.SWISH_EXT,
    ("swish", True, False, False): Epilogue.SWISH_BIAS_EXT,
    ("clamp", False, False, False): Epilogue.CLAMP_EXT,
    ("clamp", True, False, False): Epilogue.CLAMP_BIAS_EXT,
    ("clamp", False, True, False): Epilogue.CLAMP_AUX_EXT,
    ("clamp", True, True, False): Epilogue.CLAMP_AUX_BIAS_EXT,
}

BIAS_GRADIENTS = {"a": Epilogue.BGRADA, "b": Epilogue.BGRADB}
"""A gradient with bias and nothing else, by the bias' source."""

_SCALE_MODES = {1: ScaleMode.SCALAR_32F, 2: ScaleMode.OUTER_VEC_32F}
_ONE = bytes(c_float(1.0))


class UnsupportedProblemError(PrimusError):
    """A problem that can't be measured through the C interface; hipblaslt-bench may do it."""

    status = ExitStatus.MISSING


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrices:
    """The operands of one multiplication in device memory."""

    pointers: tuple[c_void_p, c_void_p, c_void_p, c_void_p]
    """A, B, C, D."""
    result: Buffer


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Ready to run. Everything lives as long as the context that made it."""

    gemm: Gemm
    """With the types of this architecture."""
    desc: MatmulDesc
    layouts: tuple[MatrixLayout, ...]
    scalars: tuple[Any, Any]
    matrices: tuple[Matrices, ...]
    """Several, to be used in turn, so that no kernel finds its operands in a cache."""


def epilogue_of(gemm: Gemm) -> Epilogue:
    if gemm.gradient and gemm.bias_vector and not gemm.use_e and gemm.activation == "none":
        found = BIAS_GRADIENTS.get(gemm.bias_source)
    else:
        found = EPILOGUES.get((gemm.activation, gemm.bias_vector, gemm.use_e, gemm.gradient))
    if found is None:
        flags = [name for name in ("gradient", "use_e", "bias_vector") if getattr(gemm, name)]
        raise UnsupportedProblemError(f"hipBLASLt has no epilogue with {', '.join([gemm.activation, *flags])}")
    return found


def check(gemm: Gemm) -> None:
    """Raise UnsupportedProblemError unless the C interface can run it."""
    reasons = {
        "grouped multiplications need the C++ interface": gemm.grouped,
        "batches as arrays of pointers": gemm.batch_mode != 0,
        "complex numbers": bool(gemm.alpha_imaginary or gemm.beta_imaginary),
        "swizzled operands": gemm.swizzle_a or gemm.swizzle_b,
        "scales by blocks": max(gemm.scale_a, gemm.scale_b) > max(_SCALE_MODES),
        "options that are not known here": bool(gemm.extra),
        "amax of the scales": gemm.amax_scale_a or gemm.amax_scale_b,
    }
    types = {gemm.a_type, gemm.b_type, gemm.c_type, gemm.d_type, *([gemm.aux_type] if gemm.use_e else [])}
    if strange := sorted(types - TYPES.keys()):
        reasons[f"type {strange[0]}"] = True
    if gemm.compute_type not in abi.COMPUTE_TYPES:
        reasons[f"compute type {gemm.compute_type}"] = True
    if found := next((reason for reason, holds in reasons.items() if holds), None):
        raise UnsupportedProblemError(
            f"{gemm.title}: not through hipBLASLt's C interface: {found}. Use the bench engine."
        )
    epilogue_of(gemm)


@contextlib.contextmanager
def problem(hip: Hip, handle: Handle, gemm: Gemm, *, arch: str, rotating_bytes: int) -> Iterator[Problem]:
    """Make it, with operands enough that their sets in turn fill `rotating_bytes`."""
    check(gemm)
    gemm = for_architecture(gemm, arch)
    with contextlib.ExitStack() as stack:
        desc, layouts = describe(stack, handle, gemm)
        allocator = _Allocator(stack, hip)
        scalars = _scalars(gemm, allocator)
        _attach(desc, gemm, allocator)
        matrices = tuple(_rotating(gemm, allocator, rotating_bytes))
        yield Problem(gemm=gemm, desc=desc, layouts=layouts, scalars=scalars, matrices=matrices)


def for_architecture(gemm: Gemm, arch: str) -> Gemm:
    """The log writes `f8_r` for both kinds of 8 bit floats: which one it is, the GPU decides."""
    if not arch.startswith(FNUZ_ARCHITECTURES):
        return gemm
    names = ("a_type", "b_type", "c_type", "d_type", "bias_type", "aux_type", "compute_input_a", "compute_input_b")
    return dataclasses.replace(gemm, **{name: _FNUZ.get(getattr(gemm, name), getattr(gemm, name)) for name in names})


def describe(stack: contextlib.ExitStack, handle: Handle, gemm: Gemm) -> tuple[MatmulDesc, tuple[MatrixLayout, ...]]:
    """The descriptor and the layouts of A, B, C and D, without any pointer in them: enough to ask for solutions."""
    desc: MatmulDesc = stack.enter_context(
        handle.matmul_desc(abi.COMPUTE_TYPES[gemm.compute_type], abi.DATA_TYPES[gemm.scale_type])
    )
    desc.set(MatmulDescAttribute.TRANSA, Operation[gemm.trans_a])
    desc.set(MatmulDescAttribute.TRANSB, Operation[gemm.trans_b])
    desc.set(MatmulDescAttribute.EPILOGUE, epilogue_of(gemm))
    if gemm.bias_vector:
        desc.set(MatmulDescAttribute.BIAS_DATA_TYPE, abi.DATA_TYPES[gemm.bias_type])
    if gemm.scale_alpha_vector:
        desc.set(MatmulDescAttribute.POINTER_MODE, PointerMode.ALPHA_DEVICE_VECTOR_BETA_HOST)
    for name, value in (("A", gemm.compute_input_a), ("B", gemm.compute_input_b)):
        if value:
            desc.set(MatmulDescAttribute[f"COMPUTE_INPUT_TYPE_{name}_EXT"], abi.DATA_TYPES[value])
    if gemm.activation in ("clamp", "swish"):
        desc.set(MatmulDescAttribute.EPILOGUE_ACT_ARG0_EXT, gemm.activation_arg1)
        desc.set(MatmulDescAttribute.EPILOGUE_ACT_ARG1_EXT, gemm.activation_arg2)
    return desc, tuple(_layout(stack, handle, gemm, name) for name in "abcd")


def _layout(stack: contextlib.ExitStack, handle: Handle, gemm: Gemm, name: str) -> MatrixLayout:
    rows, columns = shape(gemm, name)
    kind: DataType = abi.DATA_TYPES[getattr(gemm, f"{name}_type")]
    made: MatrixLayout = stack.enter_context(
        handle.library.layout(kind, rows, columns, getattr(gemm.size, f"ld{name}"))
    )
    if gemm.batch > 1:
        made.set_batch(gemm.batch, getattr(gemm.size, f"stride_{name}"))
    return made


def shape(gemm: Gemm, name: str) -> tuple[int, int]:
    """Rows and columns of a matrix as it lies in memory, column by column."""
    rows, columns = {"a": (gemm.m, gemm.k), "b": (gemm.k, gemm.n)}.get(name, (gemm.m, gemm.n))
    transposed = getattr(gemm, f"trans_{name}", "N") != "N"
    return (columns, rows) if transposed else (rows, columns)


def elements(gemm: Gemm, name: str) -> int:
    """From the first to the last of all batches."""
    rows, columns = shape(gemm, name)
    last = (gemm.batch - 1) * (getattr(gemm.size, f"stride_{name}") or 0)
    return max(1, last + (columns - 1) * getattr(gemm.size, f"ld{name}") + rows) if columns else 1


class _Allocator:
    """Device memory with random contents, freed with the stack."""

    def __init__(self, stack: contextlib.ExitStack, hip: Hip) -> None:
        self._stack, self.hip = stack, hip
        self._blocks: dict[tuple[str, int], bytes] = {}

    def empty(self, size: int) -> Buffer:
        made: Buffer = self._stack.enter_context(self.hip.malloc(size))
        return made

    def random(self, type_name: str, count: int, seed: int) -> Buffer:
        key = (type_name, seed)
        block = self._blocks.get(key) or self._blocks.setdefault(key, random_block(type_name, seed))
        return self.filled(block, count * TYPES[type_name].size)

    def filled(self, block: bytes, size: int) -> Buffer:
        """One block again and again: copied within the device, twice as much each time."""
        buffer = self.empty(size)
        done = min(len(block), size)
        self.hip.upload(buffer.pointer, block[:done])
        while done < size:
            part = min(done, size - done)
            self.hip.copy(buffer.at(done), buffer.pointer, part)
            done += part
        return buffer


def _scalars(gemm: Gemm, allocator: _Allocator) -> tuple[Any, Any]:
    kind: Any = {"f64_r": c_double, "i32_r": c_int32}.get(gemm.scale_type, c_float)
    alpha, beta = (kind(int(value) if kind is c_int32 else value) for value in (gemm.alpha, gemm.beta))
    if gemm.scale_alpha_vector:  # the pointer itself is what the library is given
        vector = allocator.filled(bytes(alpha), gemm.m * ctypes.sizeof(alpha))
        alpha = (ctypes.c_char * 1).from_address(vector.pointer.value or 0)
    return alpha, beta


def _attach(desc: MatmulDesc, gemm: Gemm, allocator: _Allocator) -> None:
    """Bias, scales, auxiliary matrix and what else goes by pointer."""
    if gemm.bias_vector:
        count = gemm.n if gemm.bias_source == "b" else gemm.m
        total = count + (gemm.batch - 1) * gemm.bias_stride
        bias = allocator.random(gemm.bias_type, total, seed=4)
        desc.set(MatmulDescAttribute.BIAS_POINTER, bias.pointer.value)
        if gemm.bias_stride:
            desc.set(MatmulDescAttribute.BIAS_BATCH_STRIDE, gemm.bias_stride)
    for operand, code, count in (("A", gemm.scale_a, gemm.m), ("B", gemm.scale_b, gemm.n)):
        if code:
            scales = allocator.filled(_ONE, len(_ONE) * (count if code > 1 else 1))
            desc.set_scale(operand, scales.pointer, _SCALE_MODES[code])
    for name, wanted in (("C", gemm.scale_c), ("D", gemm.scale_d)):
        if wanted:
            desc.set(MatmulDescAttribute[f"{name}_SCALE_POINTER"], allocator.filled(_ONE, len(_ONE)).pointer.value)
    if gemm.amax_d:
        desc.set(MatmulDescAttribute.AMAX_D_POINTER, allocator.filled(_ONE, len(_ONE)).pointer.value)
    if gemm.use_e:
        aux = allocator.random(gemm.aux_type, elements(gemm, "e"), seed=5)
        desc.set(MatmulDescAttribute.EPILOGUE_AUX_POINTER, aux.pointer.value)
        desc.set(MatmulDescAttribute.EPILOGUE_AUX_LD, gemm.size.lde)
        desc.set(MatmulDescAttribute.EPILOGUE_AUX_BATCH_STRIDE, gemm.size.stride_e or 0)
        if gemm.aux_type != gemm.d_type:
            desc.set(MatmulDescAttribute.EPILOGUE_AUX_DATA_TYPE, abi.DATA_TYPES[gemm.aux_type])


_MOST_SETS = 64


def _rotating(gemm: Gemm, allocator: _Allocator, rotating_bytes: int) -> Iterator[Matrices]:
    names = "abcd" if gemm.reads_c else "abd"
    each = sum(elements(gemm, name) * TYPES[getattr(gemm, f"{name}_type")].size for name in names)
    for _ in range(max(1, min(_MOST_SETS, -(-rotating_bytes // each)))):
        made = {
            name: allocator.random(getattr(gemm, f"{name}_type"), elements(gemm, name), seed)
            for seed, name in enumerate(names)
        }
        c = made.get("c", made["d"])  # without beta it is not read
        pointers = (made["a"].pointer, made["b"].pointer, c.pointer, made["d"].pointer)
        yield Matrices(pointers=pointers, result=made["d"])

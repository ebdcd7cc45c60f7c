"""Contents of test matrices, and how far two results are apart. measure.py fills and compares with it."""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ELEMENTS = 65521
"""Of one random block, which is repeated: a prime, so that rows and columns of a matrix are not alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ElementType:
    """How the bench's type lies in memory."""

    size: int
    """Bytes."""
    encode: Callable[[random.Random, int], bytes]
    """So many random elements."""

    decode: Callable[[bytes], Sequence[float]]
    tolerance: float
    """Difference between right results, as a share of the largest element: sums in another order round otherwise."""


def random_block(type_name: str, seed: int) -> bytes:
    return TYPES[type_name].encode(random.Random(seed), ELEMENTS)


def difference(default: Sequence[float], candidate: Sequence[float]) -> float:
    """Largest difference as a share of the default's largest element; infinite where the candidate has no number.

    The default must have some finite element; those where it has none are not compared.
    """
    pairs = [(one, other) for one, other in zip(default, candidate, strict=True) if math.isfinite(one)]
    largest = max(abs(one) for one, _ in pairs)
    if not all(math.isfinite(other) for _, other in pairs):
        return math.inf
    apart = max(abs(one - other) for one, other in pairs)
    return apart / largest if largest else (math.inf if apart else 0.0)


def _floats(source: random.Random, count: int) -> array[float]:
    return array("f", (source.random() - 0.5 for _ in range(count)))


def _encode_bf16(source: random.Random, count: int) -> bytes:
    halves = array("H", _floats(source, count).tobytes())
    return halves[1::2].tobytes()


def _decode_bf16(data: bytes) -> Sequence[float]:
    return array("f", array("I", (half << 16 for half in array("H", data))).tobytes())


def _encode_small(exponents: range, mantissa_bits: int) -> Callable[[random.Random, int], bytes]:
    """8 bit floats between about 1/16 and 1, of either sign: neither zero nor what stands for no number."""
    values = [
        sign | exponent << mantissa_bits | mantissa
        for sign in (0, 0x80)
        for exponent in exponents
        for mantissa in range(1 << mantissa_bits)
    ]
    return lambda source, count: bytes(source.choices(values, k=count))


def _decode_small(
    mantissa_bits: int, bias: int, not_a_number: Callable[[int], bool]
) -> Callable[[bytes], Sequence[float]]:
    table = [math.nan if not_a_number(byte) else _small_float(byte, mantissa_bits, bias) for byte in range(256)]
    return lambda data: [table[byte] for byte in data]


def _small_float(byte: int, mantissa_bits: int, bias: int) -> float:
    exponent, mantissa = (byte & 0x7F) >> mantissa_bits, byte & ((1 << mantissa_bits) - 1)
    fraction = mantissa / (1 << mantissa_bits)
    value = math.ldexp(1 + fraction, exponent - bias) if exponent else math.ldexp(fraction, 1 - bias)
    return -value if byte & 0x80 else value


def _plain(code: str, tolerance: float) -> ElementType:
    return ElementType(
        size=array(code).itemsize,
        encode=lambda source, count: array(code, (source.random() - 0.5 for _ in range(count))).tobytes(),
        decode=lambda data: array(code, data),
        tolerance=tolerance,
    )


def _whole(code: str) -> ElementType:
    return ElementType(
        size=array(code).itemsize,
        encode=lambda source, count: array(code, (source.randrange(-4, 5) for _ in range(count))).tobytes(),
        decode=lambda data: array("d", array(code, data)),
        tolerance=0.0,
    )


_E4M3 = ElementType(
    size=1,
    encode=_encode_small(range(3, 7), 3),
    decode=_decode_small(3, 7, lambda byte: byte & 0x7F == 0x7F),
    tolerance=0.15,
)
_E5M2 = ElementType(
    size=1,
    encode=_encode_small(range(11, 15), 2),
    decode=_decode_small(2, 15, lambda byte: byte & 0x7F >= 0x7C),
    tolerance=0.3,
)
_E4M3_FNUZ = ElementType(
    size=1,
    encode=_encode_small(range(4, 8), 3),
    decode=_decode_small(3, 8, lambda byte: byte == 0x80),
    tolerance=0.15,
)
_E5M2_FNUZ = ElementType(
    size=1,
    encode=_encode_small(range(12, 16), 2),
    decode=_decode_small(2, 16, lambda byte: byte == 0x80),
    tolerance=0.3,
)

TYPES: dict[str, ElementType] = {
    "f64_r": _plain("d", 1e-10),
    "f32_r": _plain("f", 1e-4),
    "f16_r": ElementType(
        size=2,
        encode=lambda source, count: struct.pack(f"<{count}e", *_floats(source, count)),
        decode=lambda data: struct.unpack(f"<{len(data) // 2}e", data),
        tolerance=4e-3,
    ),
    "bf16_r": ElementType(size=2, encode=_encode_bf16, decode=_decode_bf16, tolerance=2e-2),
    "i8_r": _whole("b"),
    "i32_r": _whole("i"),
    "f8_r": _E4M3,
    "bf8_r": _E5M2,
    "f8_fnuz_r": _E4M3_FNUZ,
    "bf8_fnuz_r": _E5M2_FNUZ,
}
"""The bench's types that can be measured here: those whose elements are whole bytes."""

REDUCED_COMPUTE = frozenset({"f32_f16_r", "f32_bf16_r", "xf32_r"})
"""Compute types that round their inputs: results of f32 are as far apart as those of bf16."""


def tolerance(type_name: str, compute_type: str) -> float:
    least = TYPES["bf16_r"].tolerance if compute_type in REDUCED_COMPUTE else 0.0
    return max(TYPES[type_name].tolerance, least)

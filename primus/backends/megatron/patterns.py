"""Layer patterns such as `([0]*3+[1]*58)`: which layers are of the second kind. Read without eval.

parameters.py counts with it; arguments.py hands the result to megatron.core.
"""

from __future__ import annotations

import ast
import re

LONGEST = 100_000
"""No model has more layers; keeps `[0]*10**9` from filling the memory."""


def read_pattern(value: int | str | list[int]) -> int | list[int]:
    """`value` as Megatron's configuration takes it: an integer N (one in N layers) or one number per layer.

    A string holds either of them, or lists that are repeated with `*` and joined with `+`.
    Raises ValueError with the reason when it is neither.
    """
    if not isinstance(value, str):
        return value
    try:
        if not re.fullmatch(r"[\d\s,()\[\]*+]*", value, re.ASCII):
            raise SyntaxError
        return _evaluate(ast.parse(value.strip(), mode="eval").body, value)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"`{value}` is no pattern; expected an integer or lists like ([0]*3+[1]*58)") from None


def expand_pattern(value: int | str | list[int], num_layers: int) -> list[int]:
    """One number per layer. Raises ValueError when the pattern is for another number of layers."""
    pattern = read_pattern(value)
    if isinstance(pattern, int):
        if pattern < 1:
            raise ValueError(f"`{value}` is no pattern; the integer must be at least 1")
        return [1 if layer % pattern == 0 else 0 for layer in range(num_layers)]
    if len(pattern) != num_layers:
        raise ValueError(f"`{value}` is a pattern for {len(pattern)} layers, but num_layers is {num_layers}")
    return pattern


def _evaluate(node: ast.expr, text: str) -> int | list[int]:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int(number)):
            return number
        case ast.List(elts=elements):
            numbers = [_evaluate(element, text) for element in elements]
            if all(isinstance(number, int) for number in numbers):
                return [number for number in numbers if isinstance(number, int)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = _evaluate(left, text), _evaluate(right, text)
            if isinstance(first, list) and isinstance(second, list):
                _check_length(len(first) + len(second), text)
                return first + second
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            first, second = _evaluate(left, text), _evaluate(right, text)
            if isinstance(first, int):
                first, second = second, first
            if isinstance(first, list) and isinstance(second, int):
                _check_length(len(first) * second, text)
                return first * second
    raise ValueError(f"`{text}` is no pattern; only lists of integers, * and + are understood, like ([0]*3+[1]*58)")


def _check_length(length: int, text: str) -> None:
    if length > LONGEST:
        raise ValueError(f"`{text}` is a pattern for {length:,} layers; at most {LONGEST:,} are read")

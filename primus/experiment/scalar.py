"""What a plain YAML scalar means: the core schema of YAML 1.2. The YAML reader, `--set` and dump.py use it."""

from __future__ import annotations

import re
from typing import Any

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBER = re.compile(
    r"(?P<int>[-+]?[0-9]+)|0o(?P<oct>[0-7]+)|0x(?P<hex>[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)",
    re.ASCII,
)
_NUMBER_START = frozenset("0123456789+-.")
_LONGEST_NUMBER = 400
"""Digits. Far above any real value, and below the length that Python refuses to convert."""


def resolve(text: str) -> Any:
    """The value of a plain scalar: None, bool, int, float or, when nothing else fits, the text itself.

    Raises ValueError with a message for the user when the number is too large to hold.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    return _number(match, text)


def format_float(number: float) -> str:
    """A float as YAML 1.2 writes it, exact when read back."""
    if number != number:
        return ".nan"
    if number in (float("inf"), float("-inf")):
        return ".inf" if number > 0 else "-.inf"
    return repr(number)


def _number(match: re.Match[str], text: str) -> int | float:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits is too large")
    for kind, base in (("int", 10), ("oct", 8), ("hex", 16)):
        if match[kind]:
            return int(match[kind], base)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large for a number; write .inf for infinity")
    return number

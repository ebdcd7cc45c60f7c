"""One line of a hipBLASLt log → the problem that it describes. shapes.py reads whole dumps with it.

Lines of the bench mask (`hipblaslt-bench -m ...`) and of the profile mask (`- { function: matmul, ... }`) of every
generation are read; what a line lost or another process wrote into it is found out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from primus.tuning.gemm import Gemm, Size
from primus.tuning.options import ACTIVATIONS, BIAS_SOURCES, COMPUTE_TYPES, OPTIONS, RUN_OPTIONS, SCALES, TYPES, Option

COMMAND = b"hipblaslt-bench "
PROFILE = b"- { function: matmul,"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What one line says."""

    gemm: Gemm
    calls: int = 1
    profile: bool = False
    """It counts calls of the whole process, those that have lines of their own included."""


class TornLine(ValueError):
    """A line of hipBLASLt that is not whole: a part is missing, or another process wrote into it."""


def read_line(line: bytes) -> Entry | None:
    """The problem of a line, or None for a line that is not hipBLASLt's. Raises TornLine."""
    if line.startswith(COMMAND):
        return Entry(gemm=read_command(_text(line).split()[1:]))
    if line.startswith(PROFILE):
        return _read_profile(_text(line).strip())
    return None


def read_command(words: Sequence[str]) -> Gemm:
    """The problem that options of hipblaslt-bench describe, when all are there. Raises TornLine."""
    sizes: dict[str, list[int]] = {}
    found: dict[str, Any] = {}
    extra: list[tuple[str, ...]] = []
    for name, *values in _split(words):
        option = _BY_NAME.get(_ALIASES.get(name, name))
        if option is None:
            extra += _unknown(name, values)
        elif option.kind == "size":
            sizes.setdefault(option.field, []).append(_size(name, values))
        elif option.field in found:
            raise TornLine(f"{name} stands there twice")
        else:
            found[option.field] = _value(option, values)
    return _build(sizes, found, extra)


_BY_NAME = {option.name: option for option in OPTIONS}
_ALIASES = {"--sizem": "-m", "--sizen": "-n", "--sizek": "-k", "--batch": "--batch_count"}
_NEEDED = ("trans_a", "trans_b", "a_type", "b_type", "c_type", "d_type", "compute_type")
_OPTION_NAME = re.compile(r"--[A-Za-z]\w*|-[A-Za-z]")


def _text(line: bytes) -> str:
    try:
        return line.decode("ascii")
    except UnicodeDecodeError:
        raise TornLine("bytes that are no text") from None


def _is_option(word: str) -> bool:
    """A negative number is none; `-inf` is longer than the options with one dash."""
    return word.startswith("--") or (len(word) == 2 and word[0] == "-" and word[1].isalpha())


def _split(words: Sequence[str]) -> list[list[str]]:
    """Each option with the words after it."""
    found: list[list[str]] = []
    for word in words:
        if _is_option(word):
            found.append([word])
        elif found:
            found[-1].append(word)
        else:
            raise TornLine(f"{word!r} belongs to no option")
    return found


def _unknown(name: str, values: list[str]) -> list[tuple[str, ...]]:
    """An option that does not say which problem it is, or one that is newer than this table."""
    if name in RUN_OPTIONS:
        if len(values) != RUN_OPTIONS[name]:
            raise TornLine(f"{name} with {len(values)} values")
        return []
    if not _OPTION_NAME.fullmatch(name) or any(known.startswith(name) for known in (*_BY_NAME, *RUN_OPTIONS)):
        raise TornLine(f"{name!r} is a part of an option")
    if any(COMMAND.decode().strip() in value for value in values):
        raise TornLine("a second line begins in it")
    return [(name, *values)]


def _size(name: str, values: list[str]) -> int:
    if len(values) != 1 or not values[0].isdecimal():
        raise TornLine(f"{name} without a whole number: {' '.join(values)!r}")
    return int(values[0])


def _value(option: Option, values: list[str]) -> Any:
    """The value of an option that is not repeated."""
    if len(values) != 1 and not (option.kind in ("scale", "switch") and not values):
        if option.kind == "flag" and not values:
            return True
        raise TornLine(f"{option.name} with {len(values)} values")
    word = values[0] if values else ""
    if option.kind == "number":
        return _number(option, word)
    if option.kind == "integer":
        return _size(option.name, values)
    choices = _choices(option)
    if word not in choices:
        raise TornLine(f"{option.name} {word!r} is not one of its values")
    return choices[word]


def _choices(option: Option) -> Mapping[str, Any]:
    match option.kind:
        case "type":
            return TYPES
        case "compute":
            return COMPUTE_TYPES
        case "scale":
            return SCALES
        case "switch":
            return {"": True, "0": False, "1": True}
        case "transpose":
            return {"N": "N", "T": "T", "C": "C"}
        case "word":
            return {word: word for word in (BIAS_SOURCES if option.field == "bias_source" else ACTIVATIONS)}
        case _:
            return {}


def _number(option: Option, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise TornLine(f"{option.name} {word!r} is not a number") from None


def _build(sizes: Mapping[str, list[int]], found: dict[str, Any], extra: list[tuple[str, ...]]) -> Gemm:
    missing = [name for name in ("m", "n", "k") if name not in sizes] + [name for name in _NEEDED if name not in found]
    if missing:
        raise TornLine(f"without {', '.join(missing)}")
    groups = len(sizes["m"])
    if any(len(values) != groups for values in sizes.values()):
        raise TornLine("some sizes are there more often than others")
    if groups > 1 and not found.get("grouped"):
        raise TornLine("-m stands there twice")
    found.pop("any_stride", None)  # a Gemm knows it from the strides, which a log always has
    try:
        every = tuple(Size(**{name: values[group] for name, values in sizes.items()}) for group in range(groups))
        return Gemm(sizes=every, extra=tuple(extra), **found)
    except ValueError as error:
        raise TornLine(str(error)) from None


_NO_PART = {"function", "kernel_name", "solution_name", "algo_method", "api_method"}
"""Of a profile line: neither the problem nor something unknown."""


def _read_profile(text: str) -> Entry:
    """A line of the profile mask: the same names without dashes, and every flag with true or false."""
    if not text.endswith("}"):
        raise TornLine("without its end")
    pairs = [pair.partition(":") for pair in text[3:-1].split(",")]
    values = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
    calls = values.pop("call_count", "")
    if not calls.isdecimal():
        raise TornLine("without call_count")
    words = [word for name, value in values.items() for word in _as_words(name, value)]
    return Entry(gemm=read_command(words), calls=int(calls), profile=True)


def _as_words(name: str, value: str) -> list[str]:
    option = f"-{name.lower()}" if name in ("M", "N", "K") else f"--{name}"
    if name in _NO_PART or option in RUN_OPTIONS or value == "false":
        return []
    if value == "true" or not value:
        return [option]
    if option not in _BY_NAME and value in ("0", "none"):
        return []
    return [option, value.removeprefix("c_") if name == "compute_type" else value]

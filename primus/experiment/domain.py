"""Whether a value fits a key of the schema: its type, its choices, its bounds. check.py calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primus.errors import did_you_mean
from primus.experiment.dump import format_data
from primus.experiment.scalar import resolve
from primus.experiment.schema import Key

_PHRASES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
    "list[str]": "a list of texts",
    "table": "a section",
    "none": "null",
}
_NAMES: Mapping[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "list",
    dict: "table",
    type(None): "none",
}


def fit(key: Key, data: Any, *, from_variables: bool = False) -> Any:
    """The value as the backend gets it: a whole number becomes a float where only a float is expected.

    Quoted text made from environment variables (`"${LR:1e-4}"`) is read as a number or a switch where text is not
    accepted. Raises ValueError with a message for the user when the value does not fit.
    """
    if _fits_type(key, data):
        _check_domain(key, data)
        return data
    meant = _resolved(data) if from_variables else data
    for form in (meant, _widened(meant)):
        if _fits_type(key, form):
            _check_domain(key, form)
            return form
    raise ValueError(f"expected {expected(key)}, got {_got(key, data)}")


def is_type(kind: str, data: Any) -> bool:
    """Whether plain data is of one of the types that a schema names."""
    kind, bracket, element = kind.partition("[")
    name = _NAMES[type(data)]
    return kind == name and (not bracket or all(is_type(element[:-1], item) for item in data))


def expected(key: Key) -> str:
    """What a key takes, in words."""
    if not key.choices:
        return " or ".join(_PHRASES[kind] for kind in key.types)
    listed = ", ".join(format_data(choice) for choice in key.choices)
    several = any(kind.startswith("list") for kind in key.types)
    phrase = f"{'a list of' if several else 'one of' if len(key.choices) > 1 else 'only'} {listed}"
    others = [kind for kind in key.types if not any(is_type(kind, choice) for choice in key.choices)]
    return " or ".join([phrase, *(_PHRASES[kind] for kind in others if not kind.startswith("list"))])


def bounds(key: Key) -> str:
    """The limits of a number in words, or nothing when it has none."""
    parts = []
    if key.minimum is not None:
        parts.append(f"{'more than' if key.exclusive_minimum else 'at least'} {format_data(key.minimum)}")
    if key.maximum is not None:
        parts.append(f"at most {format_data(key.maximum)}")
    return " and ".join(parts)


def _check_domain(key: Key, data: Any) -> None:
    if key.choices is None and key.minimum is None and key.maximum is None:
        return
    for item in data if isinstance(data, list) else [data]:
        if item is None:
            continue
        if key.choices and not any(same(item, choice) for choice in key.choices) and _is_chosen(key, item):
            near = did_you_mean(item, [str(choice) for choice in key.choices]) if isinstance(item, str) else ""
            raise ValueError(f"expected {expected(key)}, got {format_data(item)}.{near}")
        if isinstance(item, (int, float)) and not isinstance(item, bool) and not _in_bounds(key, item):
            raise ValueError(f"expected {bounds(key)}, got {format_data(item)}")


def _is_chosen(key: Key, item: Any) -> bool:
    """Whether the choices speak about values of this type: `fp8` takes `e4m3`, `hybrid` or plain false."""
    return any(type(item) is type(choice) for choice in key.choices or ())


def _in_bounds(key: Key, number: float) -> bool:
    # Written so that nan is outside of any bound.
    above = key.minimum is None or (number > key.minimum if key.exclusive_minimum else number >= key.minimum)
    return above and (key.maximum is None or number <= key.maximum)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal as a file writes them: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _widened(data: Any) -> Any:
    """Whole numbers as floats, also within a list; anything else unchanged."""
    if isinstance(data, list):
        return [_widened(item) for item in data]
    if isinstance(data, int) and not isinstance(data, bool) and abs(data) < 10**300:
        return float(data)
    return data


def _resolved(data: Any) -> Any:
    """Text as YAML would read it without quotes, also within a list."""
    if isinstance(data, list):
        return [_resolved(item) for item in data]
    try:
        return resolve(data) if isinstance(data, str) and data else data
    except ValueError:
        return data


def _got(key: Key, data: Any) -> str:
    """The value, and how to write what was probably meant."""
    if isinstance(data, Mapping):
        return "a section"
    written = format_data(data)
    if isinstance(data, str):
        meant = _resolved(data)
        readable = _fits_type(key, meant) or _fits_type(key, _widened(meant))
        remedy = "; remove the quotes" if not isinstance(meant, str) and readable else ""
        return f"the text {written}{remedy}"
    if isinstance(data, float) and data.is_integer() and _fits_type(key, int(data)):
        return f"{written}; write {int(data)}"
    if "str" in key.types and not isinstance(data, list) and data is not None:
        return f"{written}; put it in quotes if you mean the text"
    return written


def _fits_type(key: Key, data: Any) -> bool:
    return _NAMES[type(data)] in key.types or (
        isinstance(data, list) and any(is_type(kind, data) for kind in key.types)
    )

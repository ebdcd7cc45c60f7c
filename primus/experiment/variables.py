"""`${VAR}` and `${VAR:default}` in the values of an experiment. The YAML and TOML readers and `--set` use it."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:(?P<default>[^{}]*))?\}|\$\{", re.ASCII)


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The text with its variables replaced, and their names. `$${` stands for a literal `${`.

    Raises ValueError with a message for the user when a variable is not set or a reference is malformed.
    """
    if "${" not in text:
        return text, ()
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match["name"]
        if name is None:
            raise ValueError(f"malformed variable in {text!r}: write ${{NAME}} or ${{NAME:default}}; $${{ is plain ${{")
        names.append(name)
        value = environ.get(name, match["default"])
        if value is None:
            raise ValueError(f"the environment variable {name} is not set; set it, or write ${{{name}:default}}")
        if not value.isascii() and not _is_text(value):
            raise ValueError(f"the environment variable {name} is not valid UTF-8")
        return value

    return _REFERENCE.sub(replace, text), tuple(dict.fromkeys(names))


def escape(text: str) -> str:
    """The text such that `expand` gives it back unchanged."""
    return text.replace("${", "$${")


def _is_text(value: str) -> bool:
    """Whether no byte of the variable was kept as a lone surrogate."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)

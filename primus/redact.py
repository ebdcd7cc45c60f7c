"""Takes secrets out of what Primus writes down or prints: values of variables and options that are named like one, and
text that is shaped like one. The manifest and failure reports go through here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "[redacted]"

_SECRET_NAME = re.compile(
    r"""
      (?: ^|_ ) (?: secret | password | passwd | passphrase | pass | pwd | credentials? | creds? | apikey | auth
                    | authorization | bearer | cookie | dsn | netrc ) (?: _|$ )
    | (?: ^|_ ) key (?: _id )? $
    | (?: ^|_ ) (?<!bos_) (?<!eos_) (?<!pad_) (?<!unk_) (?<!sep_) (?<!cls_) (?<!mask_) (?<!special_) (?<!per_) token $
    """,
    re.VERBOSE,
)
"""Matched against the words of a name in lower case, with `_` between them."""

_HARMLESS_NAMES = frozenset({"PWD", "OLDPWD"})

_SHAPES = re.compile(
    r"""
      (?<![A-Za-z0-9]) (?:
          hf_[A-Za-z0-9]{16,}                                    # Hugging Face
        | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,}
        | glpat-[A-Za-z0-9_-]{16,}                               # GitLab
        | sk-[A-Za-z0-9_-]{16,}                                  # OpenAI, Anthropic and others
        | xox[abeoprs]-[A-Za-z0-9-]{10,}                         # Slack
        | (?:AKIA|ASIA)[A-Z0-9]{16}                              # AWS key id
        | AIza[A-Za-z0-9_-]{30,}                                 # Google
        | nvapi-[A-Za-z0-9_-]{20,} | wandb_v1_[A-Za-z0-9_]{20,} | dckr_pat_[A-Za-z0-9_-]{20,}
        | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*  # JSON web token
      )
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_URL_LOGIN = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/\s@'\"]+@", re.IGNORECASE)
_BEARER = re.compile(r"\b(?P<kind>Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_.-]*)(?P<sign>=|:\s+)(?P<value>'[^']*'|\"[^\"]*\"|[^\s&,;'\"]+)")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def is_secret_name(name: str) -> bool:
    """Whether a variable or option of this name holds a secret: HF_TOKEN, --api-key, wandb.apiKey."""
    if name in _HARMLESS_NAMES:
        return False
    return _SECRET_NAME.search("_".join(_WORD.findall(name)).lower()) is not None


def redact_text(text: str) -> str:
    """`text` without anything that looks like a secret, or is assigned to a name of one."""
    text = _SHAPES.sub(HIDDEN, text)
    text = _URL_LOGIN.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _BEARER.sub(rf"\g<kind> {HIDDEN}", text)
    return _ASSIGNMENT.sub(_hide_assigned, text)


def redact_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for the manifest: every name, and the values that may be seen."""
    return {
        name: HIDDEN if value and is_secret_name(name) else redact_text(value)
        for name, value in sorted(environment.items())
    }


def redact_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested plain data, as redact_environment does it; for services outside that are told of a run's settings."""
    return {
        name: redact_values(value) if isinstance(value, Mapping) else _redact_value(name, value)
        for name, value in values.items()
    }


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line for display: `--token X` and `--token=X` lose X, and so does anything of a secret's shape."""
    shown = []
    for before, argument in zip(("", *argv), argv, strict=False):
        value_of_secret = before.startswith("-") and "=" not in before and is_secret_name(before)
        shown.append(HIDDEN if value_of_secret and not argument.startswith("-") else redact_text(argument))
    return shown


def _redact_value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return HIDDEN if value and is_secret_name(name) else redact_text(value)
    return [_redact_value(name, item) for item in value] if isinstance(value, list) else value


def _hide_assigned(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]):
        return match[0]
    return f"{match['name']}{match['sign']}{HIDDEN}"

"""Takes secrets out of what Primus writes down or prints: values of variables and options that are named like one, text
that is shaped like one, and the values of this process' own secret variables wherever they turn up again. Manifest,
failure reports, the terminal, everything that shows text of elsewhere goes through here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

HIDDEN = "[redacted]"

_SECRET_WORDS = frozenset(
    {
        *("secret", "secrets", "password", "passwd", "passphrase", "pwd", "credential", "credentials", "creds", "cred"),
        *("apikey", "apitoken", "auth", "authorization", "bearer", "cookie", "dsn", "netrc", "sas"),
        *("pgpassword", "sshpass", "ldappassword"),
    }
)
"""A name with one of these among its words is that of a secret."""

_LAST_WORDS = frozenset({"token", "key", "pass", "pat"})
"""These only where the name ends with them, unless the word before says that it is something else."""

_OTHER_BEFORE = {
    "token": (
        "bos|eos|eot|eod|pad|unk|sep|cls|mask|special|per|num|max|min|next|last|first|prev|previous|stop|start|begin|end"
        "|image|audio|video|extra|added|additional|each|every|one|single|new|a|the|of|this|that"
    ),
    "key": (
        "cache|primary|foreign|sort|dict|public|partition|group|index|row|lookup|query|unknown|missing|this|that|the|a|no"
        "|any|each|every|by|config|state|module|param|parameter|metric|label|column|field|item|node|first|last|duplicate"
        "|unexpected|required|valid|invalid|attention|and|or"
    ),
    "pass": "forward|backward|first|second|third|one|two|single|multi|per|each|last|this",
    "pat": "(?!)",
}
"""Patterns here are text: each is compiled, and kept by `re`, when it is needed, which most of them seldom are."""

_PROSE = frozenset({"auth", "secret", "secrets", "cookie", "credential", "credentials", "bearer", "sas"}) | _LAST_WORDS
"""In running text, `token: value` and `q_key: value` are hidden only when the value looks like a secret."""

_HARMLESS_NAMES = frozenset({"PWD", "OLDPWD"})

_SHAPES = r"""(?xs)
      (?<![A-Za-z0-9]) (?:
          hf_[A-Za-z0-9]{16,}                                    # Hugging Face
        | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,}
        | glpat-[A-Za-z0-9_-]{16,}                               # GitLab
        | (?:sk|ak)-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}       # OpenAI, Anthropic and others; Primus-SaFE
        | xox[abeoprs]-[A-Za-z0-9-]{10,}                         # Slack
        | (?:AKIA|ASIA)[A-Z0-9]{16}                              # AWS key id
        | AIza[A-Za-z0-9_-]{30,}                                 # Google
        | ya29\.[A-Za-z0-9_-]{20,}                               # Google, for a short time
        | (?:npm_|dapi)(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{30,}        # npm; Databricks
        | pypi-AgE[A-Za-z0-9_-]{30,} | hv[sb]\.[A-Za-z0-9_-]{20,}  # PyPI; HashiCorp Vault
        | nvapi-[A-Za-z0-9_-]{20,} | wandb_v1_[A-Za-z0-9_]{20,} | dckr_pat_[A-Za-z0-9_-]{20,}
        | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*  # JSON web token
      )
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY(?:\ BLOCK)?-----
      (?: (?:(?!-----BEGIN).){0,20000}?-----END\ [A-Z ]*PRIVATE\ KEY(?:\ BLOCK)?-----
        | (?: [\s+>|"'-] | \\[nr] | [A-Za-z0-9+/=]{16,} )* )     # the end is somewhere else, or missing
    """
_RULES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("://",),
        r"(?i)(?P<kept>\b[a-z][a-z0-9+.-]*://)(?!git@)[^/?#\s'\"]*@",
        rf"\g<kept>{HIDDEN}@",
    ),
    (
        ("sig", "x-amz-", "x-goog-"),
        r"(?i)(?P<kept>[?&](?:sig|signature|x-(?:amz|goog)-[a-z-]+)=)[^&\s'\"]+",
        rf"\g<kept>{HIDDEN}",
    ),
    (("slack.com",), r"(?P<kept>hooks\.slack\.com/[a-z]+/)[^\s'\"]+", rf"\g<kept>{HIDDEN}"),
    (
        ("authorization",),
        r"(?i)(?P<kept>\bauthorization['\"]?[ \t]*[:=][ \t]*['\"]?)[^\s'\"][^\r\n'\"]*",
        rf"\g<kept>{HIDDEN}",
    ),
    (
        ("bearer", "basic"),
        r"\b(?P<kept>(?i:Bearer|Basic)\s+)(?=[^\s'\"]*[0-9=]|[^\s'\"]*[a-z][^\s'\"]*[A-Z])[A-Za-z0-9._~+/=-]{8,}",
        rf"\g<kept>{HIDDEN}",
    ),
    (
        ("curl", "wget"),
        r"(?P<kept>\b(?:curl|wget)\b[^\r\n]*?\s(?:-u|--user|--proxy-user)[ =]?['\"]?[^\s:'\"=]+:)[^\s'\"]+",
        rf"\g<kept>{HIDDEN}",
    ),
    (
        ("machine",),
        r"(?P<kept>\bmachine\s+\S+\s+login\s+\S+\s+password\s+)\S+",  # .netrc
        rf"\g<kept>{HIDDEN}",
    ),
)
"""Text around a secret: what must be in the text in lower case, the pattern, and its replacement."""

_ASSIGNMENT = (
    r"(?P<name>[A-Za-z][A-Za-z0-9_.-]*)(?P<sign>\\?['\"]?(?: ?= ?| ?:[ \t]+|(?<=['\"]):))"
    r"(?P<value>\\?'[^']*'|\\?\"[^\"]*\"|[^\s&,;'\"]+)"
)
_SECRET_OPTION = r"(?P<name>(?<![\w-])--?[a-z][a-z0-9-]*)(?P<sign> +)(?P<value>[^\s'\"-][^\s'\"]*)"
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_RANDOM = r"(?=[^.]*[0-9])(?=.*[A-Za-z]).{8,}|(?=.*[a-z])(?=.*[A-Z]).{16,}"
_CODE = (
    r"None|True|False|null|true|false|[0-9]{1,4}|\$\{?\w+(?::[^}]*)?\}?|<.*"
    r"|(?:self|cls|os|args|config|cfg|opts?)\.[\w.]+.*|[A-Za-z_][\w.]*[(\[{].*"
)
"""A value that is program text or a reference to a variable, not the secret itself."""

_SHAPE_HINTS = (
    *("hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "sk-", "ak-", "xox", "akia", "asia"),
    *("aiza", "ya29.", "npm_", "dapi", "pypi-age", "hvs.", "hvb."),
    *("nvapi-", "wandb_v1_", "dckr_pat_", "eyj", "private key"),
)
_NAME_HINTS = (
    *("key", "token", "pass", "secret", "pwd", "cred", "auth", "bearer", "cookie", "dsn", "netrc", "sas"),
    *("_pat", "-pat"),
)
"""Every secret that is known by its shape, and every name of one, has one of these in it, in lower case."""

_ALL_HINTS = frozenset((*_SHAPE_HINTS, *_NAME_HINTS, *(hint for hints, _, _ in _RULES for hint in hints)))
_HINTS = tuple(
    hint.encode() for hint in sorted(_ALL_HINTS) if not any(one in hint for one in _ALL_HINTS if one != hint)
)

_SHORTEST_KNOWN = 8
"""Characters of a secret variable's value that is looked for elsewhere; a shorter one may be any word."""


def is_secret_name(name: str) -> bool:
    """Whether a variable or option of this name holds a secret: HF_TOKEN, --api-key, wandb.apiKey."""
    return _is_secret_name(name)


def redact_text(text: str) -> str:
    """`text` without anything that looks like a secret, or is assigned to a name of one."""
    return _redact(text, known_secrets(os.environ))


def redact_log(lines: bytes) -> bytes:
    """Lines of a log, as redact_text() does it, fast where there is nothing to hide."""
    known = known_secrets(os.environ)
    lower = lines.lower()
    hints = [hint for hint in _HINTS if hint in lower]
    secrets = [secret for each in known if (secret := each.encode(errors="surrogateescape").lower()) in lower]
    if not hints and not secrets:
        return lines
    if b"PRIVATE KEY" in lines:  # it goes over several of them
        return _redact_bytes(lines, known)
    signs = (*hints, *secrets)
    return b"".join(
        _redact_bytes(line, known) if any(sign in low for sign in signs) else line
        for line, low in zip(lines.splitlines(keepends=True), lower.splitlines(keepends=True), strict=True)
    )


def redact_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for the manifest: every name, and the values that may be seen."""
    known = known_secrets(os.environ) | known_secrets(environment)
    return {
        name: HIDDEN if value and is_secret_name(name) else _redact(value, known)
        for name, value in sorted(environment.items())
    }


def redact_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested plain data, as redact_environment does it; for services outside that are told of a run's settings."""
    known = known_secrets(os.environ)
    return {name: _redact_value(name, value, known) for name, value in values.items()}


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line for display: `--token X` and `--token=X` lose X, and so does anything of a secret's shape."""
    shown = []
    for before, argument in zip(("", *argv), argv, strict=False):
        value_of_secret = before.startswith("-") and "=" not in before and is_secret_name(before)
        shown.append(HIDDEN if value_of_secret and not argument.startswith("-") else _redact_argument(argument))
    return shown


def _redact_argument(argument: str) -> str:
    """One word of a command line, which may be an option and the assignment that it takes: `--set=hf_token=X`."""
    option, sign, rest = argument.partition("=")
    inner = option.startswith("-") and "=" in rest and not is_secret_name(option)
    return option + sign + redact_text(rest) if inner else redact_text(argument)


def known_secrets(environment: Mapping[str, str]) -> frozenset[str]:
    """Values of the secret variables, to be found again in any text. A path, to a key or a socket, is no secret."""
    return frozenset(
        value
        for name, value in environment.items()
        if len(value) >= _SHORTEST_KNOWN and _is_secret_name(name) and value[0] not in "/~."
    )


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    if name in _HARMLESS_NAMES:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    if not _SECRET_WORDS.isdisjoint(words):
        return True
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if "key" in words[-2:] and last in ("id", "data"):  # AWS_ACCESS_KEY_ID, client-key-data
        return len(words) > 2
    if last in ("key", "pass", "pat") and not before:
        return False
    return last in _LAST_WORDS and re.fullmatch(_OTHER_BEFORE[last], before) is None


def _redact(text: str, known: frozenset[str]) -> str:
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    lower = text.lower()
    if any(hint in lower for hint in _SHAPE_HINTS):
        text = re.sub(_SHAPES, HIDDEN, text)
    for hints, pattern, shown in _RULES:
        if any(hint in lower for hint in hints):
            text = re.sub(pattern, shown, text)
    if any(hint in lower for hint in _NAME_HINTS):
        if "-" in text:
            text = re.sub(_SECRET_OPTION, _hide_assigned, text)
        if "=" in text or ":" in text:
            text = re.sub(_ASSIGNMENT, _hide_assigned, text)
    return text


def _redact_bytes(text: bytes, known: frozenset[str]) -> bytes:
    return _redact(text.decode(errors="surrogateescape"), known).encode(errors="surrogateescape")


def _redact_value(name: str, value: Any, known: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        return {inner: _redact_value(inner, item, known) for inner, item in value.items()}
    if isinstance(value, str):
        return HIDDEN if value and is_secret_name(name) else _redact(value, known)
    return [_redact_value(name, item, known) for item in value] if isinstance(value, list) else value


def _hide_assigned(match: re.Match[str]) -> str:
    name, sign, value = match["name"], match["sign"], match["value"]
    if not is_secret_name(name) or value.startswith(HIDDEN) or re.fullmatch(_CODE, value):
        return match[0]
    if sign.startswith(":") and _may_be_prose(name) and not re.match(_RANDOM, value):
        return match[0]
    return f"{name}{sign}{HIDDEN}"


def _may_be_prose(name: str) -> bool:
    return name in _PROSE or (name.islower() and name.rpartition("_")[2] in _LAST_WORDS)

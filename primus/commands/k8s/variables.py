"""What `primus k8s create` gives the pods besides the experiment: variables, secret ones apart, and the words for
`primus train`."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from primus.errors import UsageError
from primus.redact import is_secret_name, redact_text

_OWN = ("exp", "backend", "sets", "image", "nnodes", "node_rank", "from_run", "dry_run", "tune_stage", "help")
"""Parameters of `primus train` that create has itself, or that the place of a pod decides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variables:
    """Of the pods."""

    plain: Mapping[str, str]
    secret: Mapping[str, str]
    expected: tuple[str, ...] = ()
    """Secret ones that are set here, but come from the secrets that were named."""

    def sent(self, referred: Mapping[str, str]) -> dict[str, str]:
        """The secret ones, with those that the experiment refers to."""
        return {**{name: text for name, text in referred.items() if name not in self.expected}, **self.secret}


def collect(given: Mapping[str, str], context: typer.Context, *, named_secrets: bool) -> Variables:
    """Variables from the options. A token that is only set in this shell is not sent when secrets are named."""
    plain = {name: text for name, text in given.items() if not _is_secret(name, text)}
    secret = {name: text for name, text in given.items() if name not in plain}
    token: str | None = context.params["hf_token"]
    expected = []
    if named_secrets:
        expected = sorted(name for name in os.environ if is_secret_name(name) and name not in secret)
    if token and "HF_TOKEN" not in secret:
        source = context.get_parameter_source("hf_token")
        if not named_secrets or (source is not None and source.name == "COMMANDLINE"):
            secret["HF_TOKEN"] = token
            expected = [name for name in expected if name != "HF_TOKEN"]
    return Variables(plain=plain, secret=secret, expected=tuple(expected))


def parse_variables(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, or NAME for a variable that is set here."""
    variables = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign and name not in os.environ:
            raise UsageError(f"--env {name}: this variable is not set here; give it a value with --env {name}=VALUE")
        variables[name] = value if sign else os.environ[name]
    return variables


def parse_pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for each in given:
        key, sign, value = each.partition("=")
        if not sign or not key:
            raise UsageError(f"{option} {each!r}: expected KEY=VALUE")
        pairs[key] = value
    return pairs


def warn_of_plain(names: Sequence[str]) -> None:
    """A server gives the environment of a workload to everybody in the workspace."""
    if names:
        print(
            f"Warning: {', '.join(names)}: sent as a plain variable, which everybody in the workspace can read; with "
            "--secret NAME it comes from a secret of the server",
            file=sys.stderr,
        )


def check_arguments(context: typer.Context, words: Sequence[str]) -> None:
    """Let the parser of `primus train` judge what is meant for it, before a pod does."""
    if not words:
        return
    root: Any = context.find_root()
    train = root.command.resolve_command(root, ["train"])[1]
    inner = train.context_class(train, info_name="train", parent=root)
    values, rest, used = train.make_parser(inner).parse_args(list(words))
    if rest:
        raise UsageError(f"after --: `primus train` takes options only, and {rest[0]!r} is none")
    for parameter in used:
        if parameter.name in _OWN:
            raise UsageError(f"after --: {parameter.opts[0]} is for `primus k8s create`, or set in each pod")
        parameter.type_cast_value(inner, values[parameter.name])


def login_name() -> str:
    """Whoever asks; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _is_secret(name: str, text: str) -> bool:
    return bool(text) and (is_secret_name(name) or redact_text(text) != text)

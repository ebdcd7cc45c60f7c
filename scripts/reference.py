"""Writes docs/commands.md and man/primus.1 from the command line itself: every command, argument and option with its
variable, its default and its help. tests/docs/test_commands.py holds them against each other."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from primus import __version__
from primus.cli import COMMANDS, _load, app
from primus.errors import ExitStatus

ROOT = Path(__file__).resolve().parents[1]
PAGE, MANUAL = ROOT / "docs/commands.md", ROOT / "man/primus.1"

STATUSES = {
    ExitStatus.DONE: "done",
    ExitStatus.FAULT: "a fault of Primus, with a traceback",
    ExitStatus.USAGE: "wrong usage of the command line",
    ExitStatus.EXPERIMENT: "the experiment or the text is wrong",
    ExitStatus.MISSING: "something is missing here: a package, a file, a device, space, a permission",
    ExitStatus.SERVICE: "a service refused or can't be reached",
    ExitStatus.PARTIAL: "done in part, and that is kept: some GEMM shapes could not be tuned",
}
OTHER_STATUS = "training's own; 128 + N when signal N ended it"

Entry = tuple[str, typer.Context, Any]
"""Name in full, context and command."""


def main() -> None:
    MANUAL.parent.mkdir(exist_ok=True)
    PAGE.write_text(markdown(), encoding="utf-8")
    MANUAL.write_text(manual(), encoding="utf-8")


def entries() -> list[Entry]:
    """Every command that can be called, groups before what is in them."""
    root = get_command(app)
    found = [("primus", typer.Context(root, info_name="primus"), root)]
    for name in COMMANDS:
        found += _below(f"primus {name}", found[0][1], _load(name))
    return found


def _below(name: str, parent: typer.Context, command: Any) -> Iterator[Entry]:
    context = typer.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    yield name, context, command
    for child, inside in getattr(command, "commands", {}).items():
        if not inside.hidden:
            yield from _below(f"{name} {child}", context, inside)


def markdown() -> str:
    """The page of the guide."""
    parts = [
        "# Commands\n\nMade by `scripts/reference.py` from the command line; `primus COMMAND --help` says the same.\n"
        "An option that is not given is taken from the environment variable beside it, when that is set.\n",
        *(_section(*entry) for entry in entries()),
    ]
    return "\n".join(parts)


def _section(name: str, context: typer.Context, command: Any) -> str:
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    text = f"{'#' * min(len(name.split()) + 1, 4)} {name}\n\n{_help(command)}\n\n```text\n{usage}\n```\n"
    rows = [f"| {_code(option)} | {_variable(each)} | {_cell(words)} |" for each, option, words in _options(context)]
    if rows:
        text += "\n" + "\n".join(["| option | variable | meaning |", "|---|---|---|", *rows]) + "\n"
    return text


def _help(command: Any) -> str:
    return inspect.cleandoc(command.help or command.short_help or "").replace("<", "&lt;")


def _options(context: typer.Context) -> Iterator[tuple[Any, str, str]]:
    """Each parameter with how it is written and what it means; those of typer and --help are everywhere."""
    for each in context.command.get_params(context):
        names = {*each.opts} & {"--help", "--install-completion", "--show-completion"}
        record = each.get_help_record(context)
        if record is not None and not names:
            words = re.sub(r"\[(?:env var: [^;\]]*(; )?)", "[", record[1])
            yield each, record[0], " ".join(words.replace("[]", "").split())


def _variable(parameter: Any) -> str:
    return f"`{parameter.envvar}`" if getattr(parameter, "envvar", None) else ""


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def manual() -> str:
    """The manual page."""
    lines = [
        f'.TH PRIMUS 1 "" "primus {__version__}" "User Commands"',
        ".SH NAME",
        "primus \\- pre-train large language models with Megatron-Core or TorchTitan",
        ".SH SYNOPSIS",
        ".B primus\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(get_command(app).help or ""),
        "An option that is not given is taken from the environment variable that is named with it, when that is set.",
        ".SH COMMANDS",
    ]
    for name, context, command in entries():
        lines.append(f".SS {_roff(' '.join([name, *command.collect_usage_pieces(context)]))}")
        lines += _paragraphs(inspect.cleandoc(command.help or command.short_help or ""))
        for each, option, words in _options(context):
            variable = f" Variable: {each.envvar}." if getattr(each, "envvar", None) else ""
            lines += [".TP", f"\\fB{_roff(option)}\\fR", _roff((words + variable).strip())]
    lines.append(".SH EXIT STATUS")
    for status, words in {**{str(int(key)): text for key, text in STATUSES.items()}, "other": OTHER_STATUS}.items():
        lines += [".TP", f"\\fB{status}\\fR", _roff(words)]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in textwrap.dedent(text).split("\n\n"):
        yield ".PP"
        yield _roff(" ".join(paragraph.split()))


def _roff(text: str) -> str:
    """Text that roff prints as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("\b", "")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main()

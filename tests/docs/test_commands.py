"""docs/commands.md and man/primus.1 say what the command line takes. PRIMUS_WRITE_DOCS=1 writes them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from primus.cli import COMMANDS
from primus.errors import ExitStatus

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if os.environ.get("PRIMUS_WRITE_DOCS"):
        module.main()
    return module


def test_the_page_is_that_of_the_command_line(reference: ModuleType) -> None:
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == reference.markdown()


def test_the_manual_is_that_of_the_command_line(reference: ModuleType) -> None:
    assert (ROOT / "man/primus.1").read_text(encoding="utf-8") == reference.manual()


def test_every_command_is_there_with_a_text(reference: ModuleType) -> None:
    names = [name for name, _, _ in reference.entries()]
    assert {f"primus {name}" for name in COMMANDS} < set(names)
    assert "primus k8s create" in names
    assert not [name for name, _, command in reference.entries() if not (command.help or command.short_help)]


def test_every_option_says_what_it_does(reference: ModuleType) -> None:
    silent = [
        (name, option)
        for name, context, _ in reference.entries()
        for _, option, words in reference._options(context)
        if not re.sub(r"\[.*?\]", "", words).strip() and option.startswith("-")
    ]
    assert not silent


def test_the_statuses_are_those_of_the_readme(reference: ModuleType) -> None:
    assert set(reference.STATUSES) == set(ExitStatus)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for status, words in {**reference.STATUSES, "other": reference.OTHER_STATUS}.items():
        assert f"| {status if isinstance(status, str) else int(status)} | {words} |" in readme


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_roff_takes_the_manual() -> None:
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-c", str(ROOT / "man/primus.1")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--dry-run" in done.stdout.replace("\b", "")

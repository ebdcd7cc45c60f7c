"""The commands of the README and the guide, run as they stand there. Training is run dry."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from report_runs import Runs

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/index.md",
    "docs/backends.md",
    "docs/data.md",
    "docs/containers.md",
    "docs/launch.md",
    "docs/reports.md",
)
"""The others have a test of their own, which names them."""

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DRY = re.compile(r"^((?:\w+=\S+ )*primus (?:train|slurm submit) .*?)( --dry-run)?( +#.*)?$", re.MULTILINE)
LINK = re.compile(r"\]\(((?!https?:)[^)#]+)")


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and content of the fenced blocks."""
    return FENCE.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.fixture
def newcomer(tmp_path: Path) -> Path:
    """A folder with what the pages take for granted: some text, a tokenizer, two runs, and `primus` on the path."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    for name in ("monday", "tuesday"):
        Runs(tmp_path / "output").make(name)
    (tmp_path / "texts").mkdir()
    for name in ("a.py", "b.txt", "c.md"):
        (tmp_path / "texts" / name).write_text("Some text.\n")
    (tmp_path / "corpus.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    subprocess.run(["gzip", "-k", "corpus.jsonl"], cwd=tmp_path, check=True)
    (tmp_path / "tokenizer").mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({character: number for number, character in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|end_of_text|>"])
    tokenizer.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    program = tmp_path / "bin" / "primus"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m primus "$@"\n')
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_works(page: str, newcomer: Path) -> None:
    names = [name for name in os.environ if name.startswith(("PRIMUS_", "DATA_PATH", "EXP", "BACKEND"))]
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment["PATH"] = f"{newcomer / 'bin'}:{environment['PATH']}"
    ran = 0
    for language, text in blocks(page):
        if language in ("yaml", "toml"):
            name = text.splitlines()[0].removeprefix("# ")
            (newcomer / name).write_text(text, encoding="utf-8")
        elif language == "sh" and "primus" in text:
            script = DRY.sub(r"\1 --dry-run", text)
            command = ["bash", "-euc", script]
            done = subprocess.run(command, cwd=newcomer, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{script}\n{done.stderr}"
            ran += 1
    assert ran


def test_every_page_with_commands_has_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    pages = [str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md") if "```sh" in path.read_text("utf-8")]

    assert not [page for page in pages if page not in tests]


@pytest.mark.parametrize(
    "page", sorted(str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")

    missing = [link for link in LINK.findall(text) if not ((ROOT / page).parent / link).exists()]

    assert not missing


def test_make_targets_of_the_readme_exist() -> None:
    pages = ("README.md", "docs/index.md", "docs/from-the-guide.md")
    targets = {name for page in pages for name in re.findall(r"`?\bmake ([a-z]+)", (ROOT / page).read_text())} - {"it"}
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"quickstart", "test"} <= targets <= known

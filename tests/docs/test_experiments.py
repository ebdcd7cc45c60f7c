"""docs/experiments.md, read as a script: its files are written, its commands run, and what they print is compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/experiments.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_example_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "primus"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m primus "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    folder = tmp_path / "work"
    folder.mkdir()
    ran = 0
    for language, text in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if language in ("yaml", "toml"):
            (folder / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
            continue
        for command, expected in commands(language, text):
            done = subprocess.run(
                ["bash", "-c", command], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False,
            )  # fmt: skip
            if expected is None:
                assert done.returncode == 0, f"{command}\n{done.stdout}"
            else:
                assert squeezed(done.stdout) == squeezed(expected), command
            ran += 1
    assert ran > 10


def squeezed(text: str) -> str:
    """Without the padding of tables, which depends on how long the path of the installation is."""
    return re.sub(r"(?<=\S) +", " ", text)


def commands(language: str, text: str) -> list[tuple[str, str | None]]:
    """The commands of a block: `console` shows what each prints, of `sh` it matters only that it works."""
    if language == "sh":
        return [(line, None) for line in text.splitlines()]
    assert language == "console", f"what is a block of {language}?"
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))

"""docs/extending.md: the example backend is installed, and every command of the page runs, with real training."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from primus.backends.base import Backend

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Runs a line of the page in a folder of its own, where the example is installed."""
    folder = tmp_path_factory.mktemp("extending")
    site, program = folder / "site", folder / "bin/primus"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m primus "$@"\n')
    program.chmod(0o755)
    kept = {name: os.environ[name] for name in ("LANG", "HOME") if name in os.environ}
    environment = {**kept, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(site)}
    pip = f"{sys.executable} -m pip install --quiet --no-deps --target {site} {ROOT}/examples/backend"

    def call(line: str) -> subprocess.CompletedProcess[str]:
        command = pip if line.startswith("pip install") else line
        return subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    call.folder = folder
    return call


def test_every_command_of_the_page_works(run) -> None:
    lines = []
    for language, text in FENCE.findall(PAGE):
        if language == "yaml":
            (run.folder / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
        elif language == "sh":
            lines += text.splitlines()
    for line in lines:
        done = run(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert len(lines) == 9

    (folder,) = run.folder.glob("output/*/*/line")
    runs = sorted(folder.glob("runs/*"))
    assert [json.loads((each / "status.json").read_text())["state"] for each in runs] == ["succeeded"] * 2
    steps = [json.loads(line)["step"] for line in (runs[1] / "metrics.jsonl").read_text().splitlines()]
    assert (steps[0], steps[-1]) == (201, 300)
    assert abs(json.loads((folder / "checkpoints/line.json").read_text())[1] - 5.0) < 0.1


def test_its_checks_name_the_place(run) -> None:
    done = run("primus train --exp line.yaml --nproc-per-node 1 --set lr=2.0 --dry-run")
    assert done.returncode == 3
    assert "2.0 diverges" in done.stderr


def test_a_start_from_zero_keeps_the_old_checkpoints(run) -> None:
    done = run("primus train --exp line.yaml --nproc-per-node 1 --no-resume --set steps=3 --set save_interval=0")
    assert done.returncode == 0, done.stderr
    assert list(run.folder.glob("output/*/*/line/checkpoints-before-*/line.json"))


def test_the_page_shows_the_example_as_it_is() -> None:
    (shown,) = [text for language, text in FENCE.findall(PAGE) if language == "toml"]
    project = (ROOT / "examples/backend/pyproject.toml").read_text(encoding="utf-8")
    assert shown.partition("\n")[2] in project


def test_the_page_lists_what_a_backend_must_have() -> None:
    names = {name for name in vars(Backend) if not name.startswith("_")} | set(Backend.__annotations__)
    assert not [name for name in names if f"`{name}" not in PAGE]


def test_the_example_has_it_all(run) -> None:
    names = " ".join(name for name in vars(Backend) if not name.startswith("_"))
    program = "import straight_line, sys; print([n for n in sys.argv[1:] if not hasattr(straight_line.BACKEND, n)])"
    done = run(f"{sys.executable} -c '{program}' {names}")
    assert done.stdout.strip() == "[]", done.stderr

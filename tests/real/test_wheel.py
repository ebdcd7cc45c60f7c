"""The wheel as a user gets it, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(command, capture_output=True, check=True)
    return folder


def test_it_has_the_presets_the_schemas_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {str(path.relative_to(ROOT / "configs")) for path in (ROOT / "configs").rglob("*") if path.is_file()}

    assert {f"primus/configs/{name}" for name in shipped} <= set(names)
    assert {f"primus/backends/{name}/schema.json" for name in ("megatron", "torchtitan")} <= set(names)
    assert "primus/py.typed" in names
    assert any(name.endswith(".data/data/share/man/man1/primus.1") for name in names)
    assert {f"primus/report/page/{name}" for name in ("page.html", "style.css", "report.js")} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "data/", "output"))]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--version"], "primus 0.1.0\n"),
        (["train", "--backend", "megatron", "--exp", "llama3_8B", "--nproc-per-node", "8", "--dry-run"], "llama3_8B"),
    ],
)
def test_it_runs_from_anywhere(installed: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "primus", *arguments]

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert not list(tmp_path.iterdir())

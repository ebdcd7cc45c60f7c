"""docs/tuning.md says what the code does, its commands work, and each fault in its table has its test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from primus.tuning.place import place_of
from primus.tuning.tune import DEFAULT_WORKSPACE

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "tuning.md").read_text(encoding="utf-8")
FAULTS = 25


def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "primus").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m primus "$@"\n')
    (bin / "primus").chmod(0o755)
    environ = {"PATH": f"{bin}:/usr/bin:/bin", "HOME": str(tmp_path), "USER": "me"}
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)).splitlines()
    for command in filter(None, commands):
        # One process per GPU, on a machine that has eight.
        given = environ | {"GPUS_PER_NODE": "8"}
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert len(commands) > 7


def test_the_paths_of_the_page_are_those_of_the_code(tmp_path: Path) -> None:
    from primus.experiment import load

    experiment = load("megatron/llama3_8B", sets=[f"workspace={tmp_path}"], environ=os.environ)
    place = place_of(experiment, {})
    for path in (place.shapes, place.results, place.record(1), place.record(2)):
        assert f"`{path.relative_to(place.folder)}`" in PAGE
    assert f"{DEFAULT_WORKSPACE >> 20} MiB" in PAGE


def test_each_of_the_faults_has_a_test() -> None:
    rows = re.findall(r"^\| (\d+) .*\| (.*) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == [*range(1, FAULTS + 1)]
    known = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    named = {int(number): re.findall(r"`(\w+)`", names) for number, names in rows}
    assert not {name for names in named.values() for name in names} - known
    assert not [number for number, names in named.items() if not all(f"_fault_{number}_" in name for name in names)]


def test_every_test_of_a_fault_is_for_one_of_the_table() -> None:
    numbers = {
        int(number)
        for path in TESTS.rglob("test_*.py")
        for number in re.findall(r"^def test_fault_(\d+)_", path.read_text(), re.MULTILINE)
        if "tuning" in path.parts
    }
    assert numbers <= set(range(1, FAULTS + 1))

"""Machines that are not here: files of their kernel, and their vendors' tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """`machine({"proc/cmdline": "iommu=pt"})` makes these files and returns their root."""

    def make(files: Mapping[str, str]) -> Path:
        root = tmp_path / "machine"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"{text}\n")
        return root

    return make


@pytest.fixture
def tool(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """`tool("nvidia-smi", output)` puts a program there that prints this; returns an environment that has it."""

    def make(name: str, output: str = "", *, status: int = 0, words: str = "") -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.txt").write_text(output)
        program = folder / name
        program.write_text(f'#!/bin/sh\n/bin/cat "{folder}/{name}.txt"\necho "{words}" >&2\nexit {status}\n')
        program.chmod(0o755)
        return {"PATH": str(folder)}

    return make


@pytest.fixture
def worker_result() -> Callable[..., dict[str, Any]]:
    """What a worker leaves, with other values."""

    def make(rank: int, *, node: int = 0, **fields: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "rank": rank,
            "node": node,
            "host": f"host{node}",
            "device": {"kind": "cpu", "name": "CPU"},
            "done": ["import torch", "meet"],
            "doing": None,
            "late": False,
            "seconds": {},
            "values": [],
        }
        return facts | fields

    return make

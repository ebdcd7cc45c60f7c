"""Processes that use the stand-ins of hipBLASLt and its bench."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine that runs the tests has set must not change what they see."""
    for name in [*os.environ]:
        if name.startswith(("HIP_", "ROCR_", "HIPBLASLT_", "STANDIN_", "ROCM_")):
            monkeypatch.delenv(name)


@pytest.fixture
def bench(rocm: Path, tmp_path: Path) -> Run:
    """Runs the fake hipblaslt-bench with options and environment."""

    def run(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [str(rocm / "bin" / "hipblaslt-bench"), *options]
        return subprocess.run(
            command, env=os.environ | environ, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )

    return run


CLIENT = """
import contextlib, ctypes, os, sys
from pathlib import Path
from primus.tuning.gemm import Gemm
from primus.tuning.hip import Hip
from primus.tuning.hipblaslt.library import HipblasLt
from primus.tuning.measure_problem import problem

stack = contextlib.ExitStack()
hip, library = Hip.load(LIB), HipblasLt.load(LIB)
handle = stack.enter_context(library.create())
preference = stack.enter_context(library.preference(128 << 20))
stream = stack.enter_context(hip.stream())
workspace = stack.enter_context(hip.malloc(128 << 20))

def ready(gemm):
    return stack.enter_context(problem(hip, handle, gemm, arch="gfx942", rotating_bytes=1))

def first(gemm):
    made = ready(gemm)
    return handle.heuristics(made.desc, made.layouts, preference)[0].algo.index

def multiply(gemm, times=1):
    made = ready(gemm)
    algo = handle.heuristics(made.desc, made.layouts, preference)[0].algo
    memory = (workspace.pointer, workspace.size)
    start = handle.matmul_caller(made.desc, made.layouts, made.scalars, algo=algo, workspace=memory, stream=stream)
    for _ in range(times):
        start(made.matrices[0].pointers)
    return made
"""


@pytest.fixture
def client(rocm: Path, tmp_path: Path) -> Run:
    """Runs Python code that has `hip`, `library`, `handle`, `first(gemm)` and `multiply(gemm)` of the fake library."""

    def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
        text = f"LIB = {str(rocm / 'lib')!r}\n" + CLIENT.replace("LIB)", "Path(LIB))") + code + "\nstack.close()\n"
        command = [sys.executable, "-c", text]
        return subprocess.run(
            command, env=os.environ | environ, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )

    return run

"""Stage 2 on stand-ins of GPUs: shapes, a tuner here or in a process of its own, and what the fake benches noted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from primus.tuning.gemm import Gemm
from primus.tuning.results import Results, read_results
from primus.tuning.shapes import Shapes, Use, write_shapes
from primus.tuning.tune import RESULTS_NAME, Outcome, TuneRequest
from primus.tuning.tune.tuner import Tuner

MAIN = """
import json, sys
from pathlib import Path
from primus.tuning.tune import TuneRequest, run
given = json.loads(sys.argv[1])
paths = {name: Path(given.pop(name)) for name in ("shapes", "results", "rocm")}
outcome = run(TuneRequest(**paths, **given))
print("\\n".join(outcome.messages))
sys.exit(outcome.status)
"""


class Tuning:
    """A folder with shapes, and the tunings of them."""

    def __init__(self, folder: Path, rocm: Path) -> None:
        self.folder = folder / "gemm_tune"
        self.noted = folder / "noted"
        self.noted.mkdir(parents=True)
        shapes = folder / "gemm_shape" / "gemm_shapes.jsonl"
        self.request = TuneRequest(
            shapes=shapes, results=self.folder / RESULTS_NAME, engine="bench", rocm=rocm, time_limit=60
        )
        self.environ = {"STANDIN_DIRECTORY": str(self.noted)}

    def shapes(self, *gemms: Gemm, calls: int = 10) -> None:
        """What stage 1 found: the first one is called most."""
        found = Shapes()
        for number, gemm in enumerate(gemms):
            found.add(gemm, Use(calls=calls * (len(gemms) - number), ranks=1))
        write_shapes(self.request.shapes, found)

    def run(self, *, environ: dict[str, str] | None = None, **request: Any) -> Outcome:
        return Tuner(replace(self.request, **request), os.environ | self.environ | (environ or {})).run()

    def start(self, *, environ: dict[str, str] | None = None, **request: Any) -> subprocess.Popen[str]:
        """In a process of its own."""
        given = {name: getattr(self.request, name) for name in ("shapes", "results", "rocm", "engine", "time_limit")}
        given = {name: str(each) if isinstance(each, Path) else each for name, each in given.items()} | request
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, json.dumps(given)],
            env=os.environ | self.environ | (environ or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def results(self) -> Results:
        return read_results(self.request.results)

    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "report.json").read_text())

    def shape(self, gemm: Gemm) -> dict[str, Any]:
        """Its part of the report."""
        return next(each for each in self.report()["shapes"] if each["problem"] == gemm.to_json())

    def journal(self) -> list[dict[str, Any]]:
        """Whole entries, in their order."""
        path = self.folder / "journal.jsonl"
        lines = path.read_text().split("\n")[1:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def starts(self) -> list[tuple[int, str, str]]:
        """Runs of the fake benches: GPU, sizes, options; without those that ask whether a GPU is there."""
        lines = (self.noted / "runs").read_text().splitlines()
        words = [line.split(" ", 4) for line in lines if line.split()[1] == "start"]
        return [(int(gpu), shape, options) for _, _, gpu, shape, options in words if shape != "128x128x128"]

    def clashes(self) -> list[str]:
        """Two benches at a time on one GPU."""
        return [line for line in (self.noted / "runs").read_text().splitlines() if "TWO ON ONE" in line]


@pytest.fixture(scope="session")
def make_tuning(rocm: Path) -> Callable[[Path], Tuning]:
    """For fixtures that several tests share."""
    return lambda folder: Tuning(folder, rocm)


@pytest.fixture
def tuning(rocm: Path, tmp_path: Path) -> Tuning:
    return Tuning(tmp_path, rocm)


@pytest.fixture
def times(kernels: Any) -> Callable[..., dict[int, float]]:
    """The time of each solution of a plain problem within a workspace limit, the library's choice first."""

    def of(gemm: Gemm, limit: int = 64 << 20) -> dict[int, float]:
        problem = {"m": gemm.m, "n": gemm.n, "k": gemm.k, "batch_count": gemm.batch}
        problem |= {"epilogue": 4 if gemm.bias_vector else 1, "scaleA": 0, "scaleB": 0}
        problem |= {"transA": gemm.trans_a, "transB": gemm.trans_b}
        problem |= {f"{name}_type": getattr(gemm, f"{name}_type") for name in ("a", "b", "c", "d", "compute")}
        return {index: kernels.time_us(problem, index) for index in kernels.ranked(problem, limit)}

    return of


@pytest.fixture
def gemm() -> Callable[..., Gemm]:
    """A problem that is told from others by m."""

    def make(m: int, **others: Any) -> Gemm:
        return Gemm.single(**{"m": m, "n": 512, "k": 256, "a_type": "bf16_r", "trans_a": "T"} | others)

    return make

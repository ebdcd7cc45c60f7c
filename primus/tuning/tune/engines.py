"""Which engine tunes what. tuner.py picks one here.

`auto` takes the bench where ROCm's clients package is installed: it flushes instruction caches, reaches problems that
the C interface does not, and names kernels. The library takes what the installed bench can't say, and everything where
there is no bench.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from primus.tuning.gemm import Gemm
from primus.tuning.measure_process import Failure
from primus.tuning.tune.bench import BenchEngine, find_bench, missing_bench
from primus.tuning.tune.engine import Engine, Found, Machine, Task
from primus.tuning.tune.gpus import Gpu
from primus.tuning.tune.library import LibraryEngine, find_libraries
from primus.tuning.tune.processes import Processes
from primus.tuning.tune.request import TuneRequest


def pick(request: TuneRequest, environ: Mapping[str, str] = os.environ) -> Engine:
    """Raises MissingError when the one that is asked for is not here."""
    bench = find_bench(environ, request.rocm)
    library = LibraryEngine(request.rocm / "lib" if request.rocm else None, environ)
    if request.engine == "library" or (request.engine == "auto" and bench is None):
        return library
    if bench is None:
        raise missing_bench(environ, request.rocm)
    first = BenchEngine(bench, environ)
    if request.engine == "bench" or find_libraries(environ, request.rocm) is None:
        return first
    return AutoEngine(first, library)


class AutoEngine:
    """The first of two engines that takes a problem."""

    def __init__(self, first: Engine, second: Engine) -> None:
        self._first, self._second = first, second
        self.name = f"{first.name}, {second.name} for what it can't take"

    def machine(self, processes: Processes) -> Machine:
        return self._first.machine(processes)

    def refuses(self, gemm: Gemm) -> str | None:
        reasons = [self._first.refuses(gemm), self._second.refuses(gemm)]
        return None if None in reasons else "; ".join(map(str, reasons))

    def tune(self, task: Task, processes: Processes) -> Found | Failure:
        engine = self._first if self._first.refuses(task.gemm) is None else self._second
        return engine.tune(task, processes)

    def is_alive(self, gpu: Gpu, processes: Processes) -> bool:
        return self._first.is_alive(gpu, processes)

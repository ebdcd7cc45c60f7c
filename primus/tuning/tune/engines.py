"""Which engine tunes what. tuner.py picks one here.

`auto` takes the bench where ROCm's clients package is installed: it flushes instruction caches, reaches problems that
the C interface does not, and names kernels. The library takes what the installed bench can't say, and everything where
there is no bench, or one of another build than the library that training loads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from primus.errors import MissingError
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
    if find_libraries(environ, request.rocm) is None:
        return first
    return BesideLibrary(first, library, bench_only=request.engine == "bench")


class BesideLibrary:
    """The bench where the library is here, too."""

    def __init__(self, bench: Engine, library: Engine, *, bench_only: bool) -> None:
        self._first, self._library, self._bench_only = bench, library, bench_only
        self._second: Engine | None = None if bench_only else library

    @property
    def name(self) -> str:
        if self._second is None:
            return self._first.name
        return f"{self._first.name}, {self._second.name} for what it can't take"

    def machine(self, processes: Processes) -> Machine:
        """Of the bench; but its numbers are worth nothing when training loads another build."""
        machine = self._first.machine(processes)
        try:
            training = self._library.machine(processes)
        except MissingError as error:
            self._second = None
            return replace(machine, warnings=() if self._bench_only else (f"the bench alone is used: {error}",))
        if training.revision == machine.revision:
            return machine
        builds = f"the bench is of build {machine.revision}, the library that training loads of {training.revision}"
        if self._bench_only:
            return replace(machine, warnings=(f"{builds}, which will ignore the file. Take --engine library",))
        self._first, self._second = self._library, None
        return replace(training, warnings=(f"{builds}: the library is used",))

    def refuses(self, gemm: Gemm) -> str | None:
        reasons = [engine.refuses(gemm) for engine in (self._first, self._second) if engine is not None]
        return None if None in reasons else "; ".join(map(str, reasons))

    def tune(self, task: Task, processes: Processes) -> Found | Failure:
        second = self._second
        if second is not None and self._first.refuses(task.gemm) is not None:
            return second.tune(task, processes)
        answer = self._first.tune(task, processes)
        if second is not None and _is_refusal(answer) and second.refuses(task.gemm) is None:
            return second.tune(task, processes)
        return answer

    def is_alive(self, gpu: Gpu, processes: Processes) -> bool:
        return self._first.is_alive(gpu, processes)


def _is_refusal(answer: Found | Failure) -> bool:
    return isinstance(answer, Failure) and answer.kind == "unsupported"

"""The `library` engine: hipBLASLt itself, through our bindings, in a process of its own for each problem."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.errors import MissingError
from primus.tuning.gemm import Gemm
from primus.tuning.hip_find import find_library
from primus.tuning.measure import Settings
from primus.tuning.measure_problem import UnsupportedProblemError, check
from primus.tuning.measure_process import Failure, ask, measure_in_child
from primus.tuning.measure_times import Comparison, Times
from primus.tuning.results import reader_of
from primus.tuning.tune.engine import KINDS, Found, Machine, Task, clean
from primus.tuning.tune.gpus import Gpu, how_hidden, visible_gpus
from primus.tuning.tune.processes import Processes

DESCRIBE_SECONDS = 300.0
"""The first start on a machine may load gigabytes of kernels."""

FIRST_LOOK_SHARE = 3
"""The first look at all solutions takes at most such a part of a shape's time."""


class LibraryEngine:
    """Of one installed library."""

    name = "library"

    def __init__(self, libraries: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._libraries = libraries
        self._environ = environ

    def machine(self, processes: Processes) -> Machine:
        environ = clean(self._environ)
        answer = self._describe(environ, processes)
        if isinstance(answer, Failure):
            hidden = how_hidden(environ)
            raise MissingError(f"hipBLASLt can't be used here{f' with {hidden}' if hidden else ''}: {answer.message}")
        version, first = answer["version"], answer["devices"][0]
        generation = reader_of(version)
        if generation is None:
            raise MissingError(f"this hipBLASLt (version {version}) reads no tuning file: that takes ROCm 6.4 or newer")
        return Machine(
            revision=answer["git_revision"],
            architecture=first["arch"],
            compute_units=first["compute_units"],
            generation=generation,
            gpus=tuple(visible_gpus(len(answer["devices"]), environ)),
        )

    def refuses(self, gemm: Gemm) -> str | None:
        try:
            check(gemm)
        except UnsupportedProblemError as error:
            return str(error)
        return None

    def tune(self, task: Task, processes: Processes) -> Found | Failure:
        seconds = min(Settings(max_workspace=0).seconds, task.time_limit / FIRST_LOOK_SHARE)
        answer = measure_in_child(
            task.gemm,
            Settings(max_workspace=task.max_workspace, seconds=seconds),
            timeout=task.time_limit,
            libraries=self._libraries,
            environ=task.gpu.environ(clean(self._environ)),
            started=processes.add,
        )
        processes.check()
        with task.log.open("a") as log:
            log.write(f"{answer}\n")
        if isinstance(answer, Failure):
            return answer
        measured = {side: Times(samples=tuple(answer["comparison"][side]["samples"])) for side in ("default", "tuned")}
        names = ("default_index", "tuned_index", "solutions", "rejected", "error")
        return Found(**{name: answer[name] for name in names}, comparison=Comparison(**measured))

    def is_alive(self, gpu: Gpu, processes: Processes) -> bool:
        answer = self._describe(gpu.environ(clean(self._environ)), processes)
        return not isinstance(answer, Failure) or not KINDS[answer.kind].device

    def _describe(self, environ: Mapping[str, str], processes: Processes) -> dict[str, Any] | Failure:
        """What a child process with this environment finds installed."""
        answer = ask(
            {"do": "describe"},
            timeout=DESCRIBE_SECONDS,
            libraries=self._libraries,
            environ=environ,
            started=processes.add,
        )
        processes.check()
        return answer


def find_libraries(environ: Mapping[str, str], rocm: Path | None = None) -> Path | None:
    """The library that would be used; None when there is none."""
    return find_library("hipblaslt", rocm / "lib" if rocm is not None else None, environ)

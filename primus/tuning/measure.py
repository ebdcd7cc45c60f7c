"""Finds the fastest hipBLASLt solution of one problem and measures it against the library's own choice.

The core of the `library` engine. Runs in a process of its own, child.py, since a bad kernel takes its process along.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from primus.errors import ExitStatus, PrimusError
from primus.tuning.gemm import Gemm
from primus.tuning.hip import Buffer, Event, Hip, Stream
from primus.tuning.hipblaslt.library import Handle, HipblasLt, HipblasLtError
from primus.tuning.hipblaslt.structs import HeuristicResult
from primus.tuning.measure_data import TYPES, difference, tolerance
from primus.tuning.measure_problem import Matrices, Problem, problem, shape
from primus.tuning.measure_times import Comparison, Times

SCREENING_US = 2_000.0
"""How long a solution runs, after warming up, to be judged at first; at least one launch."""

COMPARING_US = 20_000.0
"""And in each round of the comparison."""

MOST_LAUNCHES = 100
HOST_US = 25.0
"""What starting a kernel takes from here at most. A GPU whose kernels are shorter would stand idle in between."""

BUSY_BYTES = 256 << 20
MOST_FILLS = 100
"""So it first gets memory to fill, until all launches are queued behind that."""

FINALISTS = 8
"""Solutions that are measured again: the best of many noisy ones is often just lucky."""

HOPELESS = 5.0
"""A launch that takes so many times the best solution's time needs no other."""

MEMORY_SHARE = 8
"""Rotating operands take at most so small a part of the free memory."""

_UNWRITTEN = 0xFF
"""Filled into a result before it is computed: no number in any floating type, so a gap shows."""

_COLUMNS = 32
_ROWS = 512
"""What is compared of a result: so many columns, the first and the last with them, and of each the ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How to measure."""

    max_workspace: int
    """Bytes: that of the training, which refuses solutions that need more."""

    rotating_bytes: int = 512 << 20
    """Operands are changed so that this much is touched before any comes again: more than the caches hold."""

    rounds: int = 11
    """Of default and candidate in turn."""

    seconds: float = 60.0
    """For the first look at all solutions; those beyond are left out, and counted."""

    skip: tuple[int, ...] = ()
    """Solutions known to end their process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What came out."""

    default_index: int
    """The library's own choice, or when that is among the rejected ones, its next."""

    tuned_index: int
    """The same as the default's when nothing was faster."""

    comparison: Comparison
    solutions: int
    """That the library offers within the workspace limit."""

    screened: int
    """Of these, measured."""

    rejected: dict[int, str]
    """Solutions that failed or gave a wrong result, with the reason."""

    error: float
    """Difference of the two results as a share of the largest element."""

    workspace: int
    """Bytes that the tuned solution needs."""

    def to_json(self) -> dict[str, Any]:
        plain = dataclasses.asdict(self)
        plain["comparison"] = {
            "default": self.comparison.default.to_json(),
            "tuned": self.comparison.tuned.to_json(),
            "gain": self.comparison.gain,
            "noise": self.comparison.noise,
            "is_faster": self.comparison.is_faster,
        }
        return plain


class NoSolutionError(PrimusError):
    """The library has no solution for the problem that works within the workspace limit."""

    status = ExitStatus.MISSING


class MeaninglessResultError(PrimusError):
    """The library's own choice computes no finite number, so that nothing can be compared with it."""

    status = ExitStatus.MISSING


def measure(
    hip: Hip, library: HipblasLt, gemm: Gemm, settings: Settings, trying: Callable[[int], None] = lambda index: None
) -> Measurement:
    """Measure on the current device. `trying` hears of each solution before it runs for the first time."""
    with contextlib.ExitStack() as stack:
        arch = hip.properties(hip.device()).arch
        handle: Handle = stack.enter_context(library.create())
        free, _ = hip.memory_info()
        rotating = min(settings.rotating_bytes, free // MEMORY_SHARE)
        ready = stack.enter_context(problem(hip, handle, gemm, arch=arch, rotating_bytes=rotating))
        solutions = find_solutions(handle, ready, settings)
        size = max(each.workspace_size for each in solutions)
        workspace = stack.enter_context(hip.malloc(size))
        busy = stack.enter_context(hip.malloc(min(BUSY_BYTES, free // MEMORY_SHARE)))
        bench = _Bench(stack, hip, handle, ready, (workspace.pointer, size), busy, trying)
        return _Search(bench, solutions, settings).run()


def find_solutions(handle: Handle, ready: Problem, settings: Settings) -> list[HeuristicResult]:
    """All within the workspace limit, the library's choice first."""
    with handle.library.preference(settings.max_workspace) as preference:
        found = handle.heuristics(ready.desc, ready.layouts, preference)
    unique = {each.algo.index: each for each in reversed(found) if _fits(each, settings)}
    kept = [each for each in found if unique.get(each.algo.index) is each]
    if not kept:
        reason = "all that it offers are known to crash" if found and settings.skip else "it has none"
        raise NoSolutionError(f"{ready.gemm.title}: no solution of hipBLASLt: {reason}")
    return kept


def _fits(found: HeuristicResult, settings: Settings) -> bool:
    usable = found.state == 0 and found.workspace_size <= settings.max_workspace
    return bool(usable and found.algo.index >= 0 and found.algo.index not in settings.skip)


class _Bench:
    """Launches solutions and takes their time."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        hip: Hip,
        handle: Handle,
        ready: Problem,
        workspace: Any,
        busy: Buffer,
        trying: Callable[[int], None],
    ) -> None:
        self.hip, self.ready = hip, ready
        self._busy = busy
        self._handle, self._workspace, self._trying = handle, workspace, trying
        self._stream: Stream = stack.enter_context(hip.stream())
        self._start: Event = stack.enter_context(hip.event())
        self._stop: Event = stack.enter_context(hip.event())
        self._sets = _endless(ready.matrices)
        self._fill_us = self._time_fill()

    def launcher(self, solution: HeuristicResult) -> Callable[[Matrices], None]:
        start = self._handle.matmul_caller(
            self.ready.desc,
            self.ready.layouts,
            self.ready.scalars,
            algo=solution.algo,
            workspace=self._workspace,
            stream=self._stream,
        )
        return lambda matrices: start(matrices.pointers)

    def _time_fill(self) -> float:
        self.hip.fill_later(self._busy, 0, self._stream)  # the first loads its code
        self.hip.record(self._start, self._stream)
        self.hip.fill_later(self._busy, 0, self._stream)
        self.hip.record(self._stop, self._stream)
        return self.hip.elapsed_ms(self._start, self._stop) * 1000

    def time_us(self, solution: HeuristicResult, launches: int) -> float:
        """Microseconds per launch on the GPU, without waiting for the host in between."""
        launch = self.launcher(solution)
        for _ in range(min(MOST_FILLS, math.ceil(launches * HOST_US / max(self._fill_us, 1.0)))):
            self.hip.fill_later(self._busy, 0, self._stream)
        self.hip.record(self._start, self._stream)
        for _ in range(launches):
            launch(next(self._sets))
        self.hip.record(self._stop, self._stream)
        return self.hip.elapsed_ms(self._start, self._stop) * 1000 / launches

    def first_us(self, solution: HeuristicResult) -> float:
        """The second launch of a solution: the first one waits for its code to be loaded."""
        self._trying(solution.algo.index)
        self.launcher(solution)(next(self._sets))
        self.hip.wait(self._stream)
        return self.time_us(solution, 1)

    def result(self, solution: HeuristicResult) -> list[float]:
        """Samples of what it computes."""
        matrices = self.ready.matrices[0]
        self.hip.fill(matrices.result, _UNWRITTEN)
        self.launcher(solution)(matrices)
        self.hip.wait()
        return list(self._samples(matrices))

    def _samples(self, matrices: Matrices) -> Iterator[float]:
        gemm = self.ready.gemm
        rows, columns = shape(gemm, "d")
        element = TYPES[gemm.d_type]
        total = columns * gemm.batch
        for number in sorted({round(part * (total - 1) / (_COLUMNS - 1)) for part in range(_COLUMNS)}):
            batch, column = divmod(number, columns)
            first = batch * (gemm.size.stride_d or 0) + column * gemm.size.ldd
            ends = {0: min(rows, _ROWS), max(0, rows - _ROWS): min(rows, _ROWS)}
            for offset, count in ends.items():
                place = matrices.result.at((first + offset) * element.size)
                yield from element.decode(self.hip.download(place, count * element.size))


class _Search:
    """The way from all solutions to the one that is compared with the default."""

    def __init__(self, bench: _Bench, solutions: list[HeuristicResult], settings: Settings) -> None:
        self._bench, self._solutions, self._settings = bench, solutions, settings
        self._rejected: dict[int, str] = {}
        self._failures: list[HipblasLtError] = []
        self._error = 0.0

    def run(self) -> Measurement:
        times = self._screen()
        default = next((each for each in self._solutions if each.algo.index in times), None)
        if default is None:
            raise self._failures[0]
        tuned = self._choose(default, times)
        comparison = self._compare(default, tuned, times)
        return Measurement(
            default_index=default.algo.index,
            tuned_index=tuned.algo.index,
            comparison=comparison,
            solutions=len(self._solutions),
            screened=len(times),
            rejected=self._rejected,
            error=self._error,
            workspace=tuned.workspace_size,
        )

    def _screen(self) -> dict[int, float]:
        """A first time of each solution that works, by its index."""
        times: dict[int, float] = {}
        best = math.inf
        end = time.monotonic() + self._settings.seconds
        for solution in self._solutions:
            if times and time.monotonic() > end:
                break
            index = solution.algo.index
            try:
                first = self._bench.first_us(solution)
                times[index] = first if first > HOPELESS * best else self._timed(solution, first)
            except HipblasLtError as error:
                self._rejected[index] = str(error)
                self._failures.append(error)
                self._bench.hip.wait()  # a device that is gone ends it all: that is a HipError
                continue
            best = min(best, times[index])
        return times

    def _timed(self, solution: HeuristicResult, about_us: float) -> float:
        return self._bench.time_us(solution, _launches(about_us, SCREENING_US))

    def _choose(self, default: HeuristicResult, times: dict[int, float]) -> HeuristicResult:
        """The fastest that computes the same as the default."""
        by_index = {each.algo.index: each for each in self._solutions}
        finalists = sorted(times, key=times.__getitem__)[:FINALISTS]
        again = {index: self._timed(by_index[index], times[index]) for index in finalists}
        reference = self._bench.result(default)
        gemm = self._bench.ready.gemm
        limit = tolerance(gemm.d_type, gemm.compute_type)
        for index in sorted(again, key=again.__getitem__):
            if index == default.algo.index:
                return default
            if not any(map(math.isfinite, reference)):
                raise MeaninglessResultError(f"{gemm.title}: the default's result has no finite number in it")
            apart = difference(reference, self._bench.result(by_index[index]))
            if apart <= limit:
                self._error = apart
                return by_index[index]
            self._rejected[index] = f"its result differs from the default's by {apart:.2g} of the largest element"
        return default

    def _compare(self, default: HeuristicResult, tuned: HeuristicResult, times: dict[int, float]) -> Comparison:
        """Both in turns, and each the first in every other round."""
        samples: dict[int, list[float]] = {0: [], 1: []}
        pair = (default, tuned)
        launches = [_launches(times[each.algo.index], COMPARING_US) for each in pair]
        for number in range(self._settings.rounds):
            for place in (0, 1) if number % 2 == 0 else (1, 0):
                samples[place].append(self._bench.time_us(pair[place], launches[place]))
        if default is tuned:  # what would differ is noise
            samples[1] = samples[0]
        return Comparison(default=Times(samples=tuple(samples[0])), tuned=Times(samples=tuple(samples[1])))


def _launches(each_us: float, budget_us: float) -> int:
    return max(1, min(MOST_LAUNCHES, round(budget_us / max(each_us, 0.1))))


def _endless(sets: tuple[Matrices, ...]) -> Iterator[Matrices]:
    while True:
        yield from sets

"""The `bench` engine: drives hipblaslt-bench of ROCm's clients package, one process at a time on each GPU."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from primus.errors import MissingError
from primus.tuning.columns import Row
from primus.tuning.gemm import Gemm, Generation
from primus.tuning.hip_find import DEFAULT_ROCM, ROCM_PATH
from primus.tuning.measure_process import Failure
from primus.tuning.measure_times import Comparison, Times
from primus.tuning.options import Bench
from primus.tuning.results import read_results
from primus.tuning.tune.bench_output import Measured, failure, generation_of, read_head, read_rows, solutions_of
from primus.tuning.tune.engine import KINDS, Found, Machine, Task, clean
from primus.tuning.tune.gpus import Gpu, how_hidden, visible_gpus
from primus.tuning.tune.processes import Processes, encoded, tie

PROGRAM = "hipblaslt-bench"
TUNING_FILE = "HIPBLASLT_TUNING_FILE"
USER_WORKSPACE = "HIPBLASLT_TUNING_USER_MAX_WORKSPACE"

MOST_WORKSPACE = 2**31 - 1
"""It reads the limit with atoi."""

TINY = Gemm.single(m=128, n=128, k=128, a_type="f32_r")
"""What a GPU that is alive can run."""

PROBE_SECONDS = 300.0
"""The first start on a machine may load gigabytes of kernels."""

TUNE_US, COMPARE_US = 10_000.0, 20_000.0
"""How long a kernel is timed among all others, and in each round of the comparison."""

ROUNDS = 5
"""Of default and winner in turn, each a process: with fewer the noise is not known."""

_SHELL = "sh"

SKIP_RATIO = "0.5"
"""Of solutions that warm up in more than twice the best one's time, none is timed: a noisy warm-up does not double."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What one start of the bench gave."""

    rows: Sequence[Measured]
    winner: Row | None
    solutions: int = 0
    """That support the problem."""


class BenchEngine:
    """Of one installed bench."""

    name = "bench"

    def __init__(self, program: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._program = program
        self._environ = environ
        self._bench = Bench.H25

    def machine(self, processes: Processes) -> Machine:
        """Runs something tiny: what the bench writes then tells build, GPUs and the form of its files."""
        if shutil.which(_SHELL, path=self._environ.get("PATH", os.defpath)) is None:
            raise MissingError(
                f"no program `{_SHELL}` in PATH: comparing two kernels with {PROGRAM} takes a shell. Install one (in "
                "the image, if this is a container), or take --engine library, which needs none"
            )
        with tempfile.TemporaryDirectory(prefix="primus-tune-") as folder:
            log, place = Path(folder) / "help", Path(folder)
            processes.run(
                [str(self._program), "--help"], environ=encoded(clean(self._environ)), output=log, timeout=PROBE_SECONDS
            )
            self._bench = generation_of(log.read_text(errors="replace"))
            run = self._tiny(processes, clean(self._environ), place)
            text = (place / "tiny").read_text(errors="replace")
        head = read_head(text)
        if head is None or not head.devices:
            why = run.message if isinstance(run, Failure) else "it named no GPU"
            hidden = how_hidden(self._environ)
            raise MissingError(f"no GPU that {PROGRAM} can use{f' with {hidden}' if hidden else ''}: {why}")
        if isinstance(run, Failure):
            raise MissingError(f"{PROGRAM} can't run a small multiplication here: {run.message}")
        if run.winner is None:
            raise MissingError(
                f"{self._program} writes no tuning file, and the library beside it reads none: "
                "that takes ROCm 6.4 or newer"
            )
        return Machine(
            revision=head.revision,
            architecture=run.winner.architecture or head.architecture,
            compute_units=run.winner.compute_units or 0,
            generation=_generation(run.winner),
            gpus=tuple(visible_gpus(head.devices, self._environ)),
        )

    def refuses(self, gemm: Gemm) -> str | None:
        lost = gemm.lost(self._bench)
        return f"this {PROGRAM} has no {', '.join(lost)}" if lost else None

    def tune(self, task: Task, processes: Processes) -> Found | Failure:
        end = time.monotonic() + task.time_limit
        shape = _Shape(self._program, self._bench, task, processes, self._environ, end)
        default = shape.look()
        if isinstance(default, Failure):
            return default
        return shape.search(default)

    def is_alive(self, gpu: Gpu, processes: Processes) -> bool:
        with tempfile.TemporaryDirectory(prefix="primus-tune-") as folder:
            run = self._tiny(processes, gpu.environ(clean(self._environ)), Path(folder))
        return not isinstance(run, Failure) or not KINDS[run.kind].device

    def _tiny(self, processes: Processes, environ: Mapping[str, str], folder: Path) -> _Run | Failure:
        options = (*TINY.to_argv(self._bench), "--iters", "1", "--cold_iters", "1", "--requested_solution", "1")
        command, log, file = [str(self._program), *options], folder / "tiny", folder / "results"
        extended = encoded({**environ, TUNING_FILE: str(file)})
        status = processes.run(command, environ=extended, output=log, timeout=PROBE_SECONDS)
        text = log.read_text(errors="replace")
        if status != 0:
            return failure(status, text, doing="trying the GPU", limit=PROBE_SECONDS)
        return _Run(rows=tuple(read_rows(text.splitlines())), winner=_winner(file))


class _Shape:
    """One problem on one GPU."""

    def __init__(
        self, program: Path, bench: Bench, task: Task, processes: Processes, environ: Mapping[str, str], end: float
    ) -> None:
        self._task, self._processes, self._end = task, processes, end
        self._environ = encoded(task.gpu.environ(clean(environ)))
        self._command = [str(program), *task.gemm.to_argv(bench), "--rotating", "512", "--flush"]
        self._command += ["--workspace", str(min(task.max_workspace, MOST_WORKSPACE))]
        self._skip = ["--skip_slow_solution_ratio", SKIP_RATIO] if bench > Bench.H24 else []
        self._shown = shlex.join(self._command)
        self._tied = shlex.join([*tie(), *self._command])
        self._file = task.folder / "results.txt"

    def look(self) -> Measured | Failure:
        """The library's own choice and its time, roughly."""
        run = self._run([*_DEFAULT, *_timed(2, 10)], self._environ, doing="running the library's own choice")
        return run if isinstance(run, Failure) else run.rows[0]

    def search(self, default: Measured) -> Found | Failure:
        """The fastest of all solutions, compared with the default."""
        warm_up, timed = iterations(default.microseconds, TUNE_US)
        found = self._tune(warm_up, timed)
        if isinstance(found, Failure):
            return found
        winner = found.winner
        if winner is None or not winner.microseconds:
            return Failure(kind="no-row", message=f"{PROGRAM} ended well but wrote no row for this shape")
        if winner.solution_index == default.index:
            once = Times(samples=(winner.microseconds,))
            comparison: Comparison | Failure = Comparison(default=once, tuned=once)
        else:
            comparison = self._compare(default, winner)
        if isinstance(comparison, Failure):
            return comparison
        return Found(
            default_index=-1 if default.index is None else default.index,
            tuned_index=winner.solution_index,
            comparison=comparison,
            solutions=found.solutions,
            rejected={},
            row=winner,
        )

    def _tune(self, warm_up: int, timed: int) -> _Run | Failure:
        self._file.unlink(missing_ok=True)
        limits = encoded(
            {TUNING_FILE: str(self._file), USER_WORKSPACE: str(min(self._task.max_workspace, MOST_WORKSPACE))}
        )
        options = ["--cold_iters", str(warm_up), "--iters", str(timed), *self._skip]
        run = self._run(options, {**self._environ, **limits}, doing="trying every solution")
        if isinstance(run, Failure):
            return run
        return replace(run, winner=_winner(self._file))

    def _compare(self, default: Measured, winner: Row) -> Comparison | Failure:
        """Both in turns, each the first in every other round."""
        sides = (_DEFAULT, ("--algo_method", "index", "--solution_index", str(winner.solution_index)))
        about = (default.microseconds, winner.microseconds or default.microseconds)
        counts = [iterations(each, COMPARE_US) for each in about]
        turns = [side for number in range(ROUNDS) for side in ((0, 1) if number % 2 == 0 else (1, 0))]
        options = [[*sides[side], *_timed(*counts[side])] for side in turns]
        run = self._run_all(options, doing="comparing the winner with the default")
        if isinstance(run, Failure):
            return run
        samples: tuple[list[float], list[float]] = ([], [])
        for side, measured in zip(turns, run.rows, strict=True):
            samples[side].append(measured.microseconds)
        return Comparison(default=Times(samples=tuple(samples[0])), tuned=Times(samples=tuple(samples[1])))

    def _run_all(self, options: Sequence[Sequence[str]], *, doing: str) -> _Run | Failure:
        """One run after another, each of one solution. A shell goes from one to the next at once, so that the GPU does
        not wait for us; it ends with the first that fails."""
        script = "\n".join(["set -e", *(f"{self._tied} {shlex.join(each)}" for each in options)])
        run = self._execute([_SHELL, "-c", script], script, self._environ, doing=doing)
        if not isinstance(run, Failure) and len(run.rows) != len(options):
            message = f"{PROGRAM} gave {len(run.rows)} times in {len(options)} runs while {doing}"
            return Failure(kind="no-row", message=message)
        return run

    def _run(self, options: Sequence[str], environ: Mapping[bytes, bytes], *, doing: str) -> _Run | Failure:
        return self._execute([*self._command, *options], f"{self._shown} {shlex.join(options)}", environ, doing=doing)

    def _execute(
        self, command: Sequence[str], shown: str, environ: Mapping[bytes, bytes], *, doing: str
    ) -> _Run | Failure:
        log = self._task.log
        with log.open("a") as file:
            file.write(f"$ {shown}\n")
        start = log.stat().st_size
        left = self._end - time.monotonic()
        status = self._processes.run(command, environ=environ, output=log, timeout=max(left, 0.0))
        with log.open(errors="replace") as file:
            file.seek(start)
            text = file.read()
        rows = tuple(read_rows(text.splitlines()))
        if status == 0 and rows:
            return _Run(rows=rows, winner=None, solutions=solutions_of(text))
        return failure(status, text, doing=doing, limit=self._task.time_limit)


def _timed(warm_up: int, timed: int) -> tuple[str, ...]:
    return ("--cold_iters", str(warm_up), "--iters", str(timed), "--print_kernel_info")


_DEFAULT = ("--algo_method", "heuristic", "--requested_solution", "1")


def iterations(microseconds: float, budget_us: float) -> tuple[int, int]:
    """How often a kernel of this duration is run to warm up, and then to be timed: long ones need few launches."""
    timed = max(5, min(1000, round(budget_us / max(microseconds, 0.1))))
    return max(2, min(200, timed // 2)), timed


def find_bench(environ: Mapping[str, str], rocm: Path | None = None) -> Path | None:
    """The bench of an installation that is named, on PATH, of $ROCM_PATH, or where ROCm usually is."""
    if rocm is not None:
        return _program(rocm / "bin")
    found = shutil.which(PROGRAM, path=environ.get("PATH", ""))
    if found:
        return Path(found)
    named = environ.get(ROCM_PATH)
    places = [Path(named)] if named else []
    return next((path for place in [*places, DEFAULT_ROCM] if (path := _program(place / "bin"))), None)


def missing_bench(environ: Mapping[str, str], rocm: Path | None = None) -> MissingError:
    """Says where it was looked for and how to get it."""
    usual = ["PATH", *([f"{environ[ROCM_PATH]}/bin"] if environ.get(ROCM_PATH) else []), f"{DEFAULT_ROCM}/bin"]
    looked = [f"{rocm}/bin"] if rocm is not None else usual
    return MissingError(
        f"{PROGRAM} is not here (looked into {', '.join(looked)}). It is in ROCm's package hipblaslt-clients, which "
        f"many images leave out: install that, or take --engine library, which needs the library only."
    )


def _program(folder: Path) -> Path | None:
    path = folder / PROGRAM
    return path if os.access(path, os.X_OK) else None


def _winner(file: Path) -> Row | None:
    """The row that was written; None when there is none, or only a part of one."""
    if not file.exists():
        return None
    rows = read_results(file).rows
    return rows[-1] if rows else None


def _generation(row: Row) -> Generation:
    """Which reader goes with the columns that this bench writes."""
    if len(row.names) <= 37:
        return "G0" if len(row.names) <= 34 else "G1"
    return "G4" if "kernel_name" in row.names else "G3" if "solution_name" in row.names else "G2"

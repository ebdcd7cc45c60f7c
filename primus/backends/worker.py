"""The runtime of one training process: log file, signals, metrics, and what it says when it fails. The worker module
of each backend calls run(); only the standard library and light parts of Primus are imported here."""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from primus.backends.base import Resume
from primus.backends.children import STOPS, look_after_children
from primus.backends.heartbeat import Phase, Pulse, answer_with_stacks
from primus.backends.log import open_log, size_limit
from primus.errors import ExitStatus, MissingError, PrimusError
from primus.experiment import Experiment
from primus.lifeline import die_with_parent
from primus.metrics.settings import MetricsSettings
from primus.redact import redact_text, redact_values
from primus.run import ATTEMPT_VARIABLE, RunDirectory, State, explained, write_text

if TYPE_CHECKING:
    from primus.metrics.sinks import Sinks

_LINE: dict[str, Callable[[float], str]] = {
    "loss": lambda value: f"loss {value:.4f}",
    "lr": lambda value: f"lr {value:.3e}",
    "grad_norm": lambda value: f"grad norm {value:.3f}",
    "tokens_per_second": lambda value: f"tokens/s {value:,.0f}",
    "step_time": lambda value: f"step {value:.3f} s",
    "tflops_per_gpu": lambda value: f"TFLOP/s/GPU {value:.3g}",
    "mfu": lambda value: f"MFU {value:.1%}",
    "memory_gib": lambda value: f"memory {value:.3g} GiB",
    "valid_loss": lambda value: f"valid loss {value:.4f}",
    "test_loss": lambda value: f"test loss {value:.4f}",
}
"""How a line of the log shows each metric, in this order; the others stand in metrics.jsonl only."""


def run(train: Callable[[Worker], None]) -> NoReturn:
    """Be a worker process: read the command line, call `train`, and leave with the right exit status."""
    arguments = _parse(sys.argv[1:])
    worker = Worker(RunDirectory(arguments.run_dir), resume=arguments.resume, total_steps=arguments.total_steps)
    die_with_parent()
    look_after_children()
    worker.run_dir.create({}, node=worker.node_rank)
    open_log(worker.run_dir.log_path(worker.node_rank, worker.rank), size_limit(os.environ))
    _forget_working_directory()
    for number in STOPS:
        signal.signal(number, worker.request_stop)
    answer_with_stacks(worker.run_dir.stacks_path(worker.node_rank, worker.rank))
    worker.pulse.start()
    status = _status_of(train, worker)
    worker.close(_state_of(status))
    sys.exit(status)


class Worker:
    """What the training loop of a backend gets to know, and where it reports to."""

    def __init__(self, run_dir: RunDirectory, *, resume: Resume = "auto", total_steps: int | None = None) -> None:
        self.run_dir = run_dir
        self.resume: Resume = resume
        self.total_steps = total_steps
        self.rank = _number("RANK", 0)
        self.local_rank = _number("LOCAL_RANK", 0)
        self.world_size = _number("WORLD_SIZE", 1)
        self.local_world_size = _number("LOCAL_WORLD_SIZE", 1)
        self.node_rank = _number("GROUP_RANK", 0)
        self.attempt = _number(ATTEMPT_VARIABLE, 1)
        self.stop_signal: signal.Signals | None = None
        """Set when the job was asked to stop: finish the step, save, return."""

        place = run_dir.heartbeat_path(self.node_rank, self.rank)
        self.pulse = Pulse(place, rank=self.rank, world_size=self.world_size)
        self._sinks: Sinks | None = None
        self._begin: int | None = None
        """The step that training goes on after, until the first report."""

    @cached_property
    def experiment(self) -> Experiment:
        from primus.experiment import load

        return load(self.run_dir.experiment)

    def begin(self, step: int) -> None:
        """Training goes on after this step, 0 for none. Call it on every rank."""
        self._begin = step
        self.pulse.begin(step)

    def step_done(self, step: int) -> None:
        """Call it after each step on every rank; it costs three microseconds."""
        self.pulse.step_done(step)

    @contextmanager
    def doing(self, phase: Phase) -> Iterator[None]:
        """What happens in here is not a step, and may take longer: saving, evaluating. Use it on every rank."""
        with self.pulse.doing(phase):
            yield

    def record(self, **metrics: float) -> None:
        """Report one step: `step`, `loss`, `lr`, `grad_norm`, `tokens_per_second`, `step_time` and others, as plain
        numbers. Call it on the one rank that knows the loss."""
        facts: dict[str, float] = {"time": round(time.time(), 3)}
        if self.attempt > 1:
            facts["attempt"] = self.attempt
            self._forget_lost_steps()
        line = json.dumps({name: _jsonable(value) for name, value in metrics.items()} | facts)
        _append(self.run_dir.metrics, line + "\n")
        print(self._describe(metrics), flush=True)
        if self._sinks is not None:
            self._sinks.record(metrics)

    def _forget_lost_steps(self) -> None:
        """Before the first report of a later attempt: take out what an earlier one reported of steps that are made
        again, so that readers find each step once. The earlier attempt's logs keep it."""
        if self._begin is None or not self.run_dir.metrics.exists():
            return
        begin, self._begin = self._begin, None
        lines = self.run_dir.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if (step := _step_of(line)) is not None and step <= begin]
        if len(kept) < len(lines):
            write_text(self.run_dir.metrics, "".join(kept))

    def report_to(self, services: MetricsSettings) -> None:
        """Send every record on to these services as well. Call it on the rank that calls record(), before that."""
        if not services.packages():
            return
        from primus.metrics.sinks import RunFacts, open_sinks

        facts = RunFacts(
            experiment=self.experiment.exp_name,
            folder=self.experiment.folder,
            config=redact_values(self.experiment.plain()),
        )
        self._sinks = open_sinks(services, self.run_dir, facts, warn=_warn)

    def close(self, state: State) -> None:
        """Tell the services how the run has ended."""
        self.pulse.end()
        if self._sinks is not None:
            self._sinks.close(state)
        self.pulse.stop()

    def describe_model(self, *, parameters: int, **facts: Any) -> None:
        """Write model.json: facts for reports. Call it on the rank that calls record()."""
        self.run_dir.write_json(self.run_dir.model, {"parameters": parameters, **facts})

    def request_stop(self, number: int, frame: FrameType | None = None) -> None:
        """Signal handler: only takes a note, since the training loop knows where it can stop."""
        self.stop_signal = signal.Signals(number)

    def _describe(self, metrics: dict[str, float]) -> str:
        total = "" if self.total_steps is None else f"/{self.total_steps}"
        parts = [f"step {metrics['step']}{total}"] if "step" in metrics else []
        parts += [show(metrics[name]) for name, show in _LINE.items() if name in metrics]
        return "  ".join(parts)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One training process of Primus; `primus train` starts it.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--resume", choices=get_args(Resume), default="auto")
    parser.add_argument("--total-steps", type=int, default=None)
    return parser.parse_args(argv)


def _status_of(train: Callable[[Worker], None], worker: Worker) -> int:
    """Exit status of the training: the boundary where its exceptions end."""
    try:
        train(worker)
    except PrimusError as error:
        print(redact_text(f"Error: {error}"), file=sys.stderr)
        _record_failure(worker, error, status=int(error.status))
        return int(error.status)
    except Exception as error:  # noqa: BLE001 - the boundary of a worker process
        print(redact_text(traceback.format_exc()), end="", file=sys.stderr)
        _record_failure(worker, error, status=int(ExitStatus.FAULT))
        return int(ExitStatus.FAULT)
    return 0 if worker.stop_signal is None else 128 + worker.stop_signal


def _state_of(status: int) -> State:
    return "succeeded" if not status else "interrupted" if status > 128 else "failed"


def _record_failure(worker: Worker, error: Exception, *, status: int) -> None:
    """Leave the reason for the launcher, and for torchrun in its own format."""
    trace, now = redact_text(traceback.format_exc()), time.time()
    message = redact_text(f"{type(error).__name__}: {error}")
    failure = {
        "rank": worker.rank,
        "node": worker.node_rank,
        "local_rank": worker.local_rank,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "attempt": worker.attempt,
        "time": now,
        "exit_status": status,
        "message": redact_text(str(error)) if isinstance(error, PrimusError) else message,
        "traceback": "" if isinstance(error, PrimusError) else trace,
    }
    torchrun_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    try:
        worker.run_dir.write_json(worker.run_dir.failure_path(worker.node_rank, worker.rank), failure)
        if torchrun_file:
            reply = {"message": message, "extraInfo": {"py_callstack": trace, "timestamp": str(int(now))}}
            with explained(f"can't write {torchrun_file}"):
                write_text(Path(torchrun_file), json.dumps({"message": reply}))
    except MissingError as problem:  # a full disk must not change the exit status
        _warn(str(problem))


def _forget_working_directory() -> None:
    """`python -m` puts the working directory first on the path, where a folder `megatron/` or `data/` of the user
    would replace a package; PYTHONPATH says it when that is wanted."""
    if sys.path and sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]


def _append(path: Path, text: str) -> None:
    """Add a line in a single write, so that a reader never finds two lines mixed. A full disk does not end training:
    what it can't take is left out."""
    line = text.encode()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            written = os.write(file, line)
            if written < len(line):
                os.ftruncate(file, os.fstat(file).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)
    except OSError as error:
        _warn(f"{path.name} misses a line: {error.strerror}")


def _step_of(line: str) -> float | None:
    """The step of a line of metrics.jsonl; None for half a line, from a disk that was full."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        return None


def _jsonable(value: float) -> float | str:
    """JSON has no NaN and no infinity; as text, `"NaN"`, `"Infinity"` and `"-Infinity"`, `float()` reads them back."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _warn(message: str) -> None:
    print(f"Warning: {message}", flush=True)


def _number(variable: str, default: int) -> int:
    return int(os.environ.get(variable) or default)

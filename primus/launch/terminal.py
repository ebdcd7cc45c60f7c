"""What `primus train` shows while the workers run: the log of the console ranks, and on a terminal a live line below.
The workers write to files, so that a slow terminal never slows training. attend.py uses it."""

from __future__ import annotations

import os
import select
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from primus.job import Job
from primus.launch.collapse import Collapse
from primus.launch.follow import Follower, Metrics
from primus.launch.node_log import NodeLog
from primus.launch.ranks import shown_ranks
from primus.redact import redact_log
from primus.run import RunDirectory

_REFRESH = 0.2
"""Seconds between two drawings of the live line."""

_BACKLOG = 8 << 20
"""Bytes of log that a terminal may be behind; beyond, it skips to the newest lines."""

_CHUNKS_PER_TURN = 16
"""Megabytes of log shown in one turn, so that the launcher also looks after its workers."""

_BOLD, _PLAIN, _CLEAR = "\x1b[1m", "\x1b[0m", "\r\x1b[K"


class Screen:
    """Shows one job on a stream. update() is called again and again, close() once at the end."""

    def __init__(self, job: Job, node: int, *, stream: TextIO | None = None, environ: Mapping[str, str]) -> None:
        run_dir = RunDirectory(job.run_dir)
        own = range(node * job.resources.nproc_per_node, (node + 1) * job.resources.nproc_per_node)
        self.ranks = tuple(rank for rank in job.console_ranks if rank in own)
        """The ranks of this node whose log is shown."""

        self._logs = {rank: Follower(run_dir.log_path(node, rank)) for rank in self.ranks}
        self._joined = Collapse(self.ranks) if len(self.ranks) > 1 else None
        self._node_log = NodeLog(run_dir.agent_log(node))
        self._stream = stream or sys.stdout
        self._gone = False
        self._live = bool(self.ranks) and self._stream.isatty() and environ.get("TERM", "dumb") != "dumb"
        self._line = LiveLine(job, styled=not environ.get("NO_COLOR")) if self._live else None
        self._metrics = Metrics(run_dir.metrics) if self._live else None
        self._drawn = 0.0
        self._shown = ""

    def update(self) -> None:
        """Show what is new."""
        if self._line is not None and self._metrics is not None:
            for metrics in self._metrics.read():
                self._line.add(metrics)
        for _ in range(_CHUNKS_PER_TURN):
            if not self._show_logs():
                break
        if self._live and time.monotonic() - self._drawn > _REFRESH and self._live_text() != self._shown:
            self._write(b"")

    def note(self, text: str) -> None:
        """Show something of the launcher's own, and write it into the node's log."""
        self.record(text)
        self._write(f"{text}\n".encode())

    def record(self, text: str) -> None:
        """Write into the node's log what is shown elsewhere."""
        self._node_log.note(text)

    def close(self) -> None:
        """Show all that is left, and take the live line away."""
        while self._show_logs() or any(log.is_replaced() for log in self._logs.values()):
            continue
        for rank, log in self._logs.items():
            rest = log.rest()
            if rest:
                self._show(rank, rest + b"\n")
            log.close()
        if self._joined is not None:
            self._write(self._joined.rest())
        self._live = False
        self._write(b"")
        if self._metrics:
            self._metrics.close()

    def _show_logs(self) -> bool:
        """Show a piece of every log; whether there was any."""
        found = False
        for rank, log in self._logs.items():
            skipped = log.skip(_BACKLOG) if self._live else 0
            if skipped:
                self._write(f"[{shown_ranks((rank,))}: {skipped:,} bytes skipped; all is in {log.path}]\n".encode())
            lines = log.read()
            if lines:
                found = True
                self._show(rank, lines)
        if self._joined is not None:
            lines = self._joined.take(time.monotonic())
            if lines:
                self._write(lines)
        return found

    def _show(self, rank: int, lines: bytes) -> None:
        lines = redact_log(lines)
        if self._joined is None:
            self._write(lines)
        else:
            self._joined.add(rank, lines, time.monotonic())

    def _live_text(self) -> str:
        return self._line.text(shutil.get_terminal_size().columns - 1) if self._line and self._live else ""

    def _write(self, lines: bytes) -> None:
        """Put lines out, and the live line below them."""
        if self._gone:
            return
        if self._line is not None:
            self._shown, self._drawn = self._live_text(), time.monotonic()
            lines = _CLEAR.encode() + lines + self._shown.encode()
        try:
            self._stream.flush()
            _write_all(self._stream.fileno(), lines)
        except OSError:  # the reader or the terminal has gone away; training goes on, its log is in the files
            self._gone = True


class LiveLine:
    """The newest metrics in one line: `step 120/200  loss 3.4512  lr 1.0e-03  tokens/s 12.3k  ETA 0:33`."""

    def __init__(self, job: Job, *, styled: bool) -> None:
        self._total = job.total_steps
        self._styled = styled
        self._name = job.name
        self._attempt = job.attempt
        self._first: dict[str, Any] = {}
        self._last: dict[str, Any] = {}

    def add(self, metrics: dict[str, Any]) -> None:
        if metrics.get("attempt", 1) != self._attempt:
            return
        if "step" in metrics and "loss" in metrics:  # a training step; a validation reports other names
            self._first = self._first or metrics
            self._last = metrics

    def text(self, width: int) -> str:
        """The line as it stands now, no wider than `width` columns."""
        parts = self._parts() if self._last else [f"{self._name}: starting"]
        line = "  ".join(parts)[: max(width, 0)]
        return f"{_BOLD}{line}{_PLAIN}" if self._styled else line

    def _parts(self) -> list[str]:
        metrics = {name: float(self._last[name]) for name in _SHOWN if name in self._last}
        step = int(self._last["step"])
        parts = [f"step {step:,}" + (f"/{self._total:,}" if self._total else "")]
        parts += [show(metrics[name]) for name, show in _SHOWN.items() if name in metrics]
        remaining = self._remaining(step)
        return parts if remaining is None else [*parts, f"ETA {format_duration(remaining)}"]

    def _remaining(self, step: int) -> float | None:
        """Seconds to go at the mean pace since the first step that was reported."""
        steps = step - int(self._first["step"])
        if not self._total or steps <= 0:
            return None
        pace = (float(self._last["time"]) - float(self._first["time"])) / steps
        return (self._total - step) * pace


_SHOWN: dict[str, Any] = {
    "loss": lambda value: f"loss {value:.4f}",
    "lr": lambda value: f"lr {value:.1e}",
    "tokens_per_second": lambda value: f"tokens/s {format_count(value)}",
    "step_time": lambda value: f"step {value:.2f} s",
}


def format_count(value: float) -> str:
    """`950`, `12.3k`, `4.56M`."""
    for limit, divisor, unit in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if value < limit:
            return f"{value / divisor:.3g}{unit}"
    return f"{value / 1e9:.3g}G"


def format_duration(seconds: float) -> str:
    """`0:33`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # whoever made the pipe does not want to wait, and has made us so, too
            ready = select.poll()
            ready.register(descriptor, select.POLLOUT)
            ready.poll()

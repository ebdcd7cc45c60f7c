"""What is shown while shapes are tuned: a line for each, and on a terminal a live one below. tuner.py tells it."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TextIO

from primus.launch.terminal import format_duration
from primus.tuning.gemm import Gemm
from primus.tuning.tune.journal import Entry
from primus.tuning.tune.work_queue import cost
from primus.tuning.tune.workers import Lost

_CLEAR = "\r\x1b[K"


class Progress:
    """Thread-safe. On stderr, so that stdout has the results."""

    def __init__(
        self,
        gemms: Collection[Gemm],
        environ: Mapping[str, str],
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and environ.get("TERM", "dumb") != "dumb"
        self._clock, self._began = clock, clock()
        self._total = len(gemms)
        self._left = self._all = sum(map(cost, gemms))
        self._states: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        with self._lock:
            self._print(text)

    def told(self, news: Entry | Lost) -> None:
        """A shape is done, or a GPU is lost."""
        with self._lock:
            if isinstance(news, Lost):
                self._print(f"Warning: {news.message}")
                return
            self._left -= cost(news.gemm)
            state, text = _said(news)
            self._states[state] += 1
            done = f"{sum(self._states.values()):>{len(str(self._total))}}/{self._total}"
            rest = "" if self._live else self._eta()
            self._print(f"[{done}] {news.gemm.title}: {text}  GPU {news.gpu}{rest}")

    def tick(self) -> None:
        """Draw the live line again."""
        if self._live:
            with self._lock:
                self._put("")

    def close(self) -> None:
        with self._lock:
            self._live = False
            self._put(_CLEAR if self._stream.isatty() else "")

    def _print(self, text: str) -> None:
        self._put(f"{_CLEAR if self._live else ''}{text}\n")

    def _put(self, text: str) -> None:
        live = f"{_CLEAR}{self._line()}" if self._live else ""
        try:
            self._stream.write(text + live)
            self._stream.flush()
        except OSError:  # the reader or the terminal has gone away; tuning goes on, all of it is in the journal
            self._live = False

    def _line(self) -> str:
        counts = "  ".join(f"{count} {state}" for state, count in sorted(self._states.items()))
        text = f"{sum(self._states.values())}/{self._total} shapes  {counts}{self._eta()}"
        return text[: max(shutil.get_terminal_size().columns - 1, 0)]

    def _eta(self) -> str:
        """At the pace of before, by what the shapes that are left should take."""
        done = self._all - self._left
        if done <= 0 or self._left <= 0:
            return ""
        return f"  ETA {format_duration((self._clock() - self._began) / done * self._left)}"


def _said(entry: Entry) -> tuple[str, str]:
    found = entry.found
    if found is None:
        failure = entry.answer
        return "failed", f"failed: {getattr(failure, 'message', '')}"
    before, after, gain = found.comparison.default.median, found.comparison.tuned.median, found.comparison.gain
    if found.is_faster:
        return "faster", f"{before:,.1f} → {after:,.1f} µs, {gain:+.1%}"
    return "as before", f"{before:,.1f} µs, nothing is faster by more than the noise"

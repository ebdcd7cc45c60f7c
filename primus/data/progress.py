"""How far `primus data prepare` is: a live bar on a terminal, a plain line now and then elsewhere. On stderr, so that
the result on stdout stands alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TextIO

LINE_SECONDS = 10.0
"""Between two plain lines."""


class Progress(Protocol):
    """A context while the work is under way."""

    def begin(self, remark: str, *, total: int, done: int) -> None:
        """Called once, before the context is entered: sizes are in bytes of text."""
        ...

    def advance(self, size: int) -> None: ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_for(stream: TextIO = sys.stderr) -> Progress:
    """The kind that suits where `stream` goes."""
    return _Bar(stream) if stream.isatty() else PlainProgress(stream)


class PlainProgress:
    """A line of text every ten seconds, for logs."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._total = self._done = self._first = 0
        self._started = self._last = 0.0

    def begin(self, remark: str, *, total: int, done: int) -> None:
        self._total, self._done, self._first = total, done, done
        self._started = self._last = self._clock()
        if remark:
            print(remark, file=self._stream, flush=True)

    def advance(self, size: int) -> None:
        self._done += size
        now = self._clock()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            speed = (self._done - self._first) / (now - self._started)
            print(
                f"{self._done / self._total:4.0%} of {self._total / 1e6:,.0f} MB, {speed / 1e6:,.1f} MB/s, "
                f"{(self._total - self._done) / speed:,.0f} s left",
                file=self._stream,
                flush=True,
            )

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class _Bar:
    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bars

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._bars = Bars(*columns, console=Console(file=stream), transient=True)

    def begin(self, remark: str, *, total: int, done: int) -> None:
        if remark:
            self._bars.console.print(remark)
        self._task = self._bars.add_task("", total=total, completed=done)

    def advance(self, size: int) -> None:
        self._bars.advance(self._task, size)

    def __enter__(self) -> object:
        return self._bars.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

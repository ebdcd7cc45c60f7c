"""A thread between training and one metrics service, which may be slow or down."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from textwrap import shorten

from primus.metrics.sinks.contract import Record, Sink, SinkError
from primus.run import State

BACKLOG = 10_000
"""Reports that wait for a service that is down; then the oldest go."""

RETRY_SECONDS = 60.0
"""After the first failure; doubled after each one that follows, up to an hour."""


class Channel:
    """Keeps reports until the service has them."""

    def __init__(self, sink: Sink, warn: Callable[[str], None], *, retry: float = RETRY_SECONDS) -> None:
        self._sink = sink
        self._warn = warn
        self._retry = retry
        self._waiting: deque[Record] = deque(maxlen=BACKLOG)
        self._state: State | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"primus-{sink.title}", daemon=True)
        self._opened = False
        self._failures = 0

    def put(self, record: Record) -> None:
        """Take a report; returns at once."""
        with self._news:
            self._waiting.append(record)
            self._news.notify()
        self._start()

    def finish(self, state: State) -> None:
        """Say that no more reports come."""
        with self._news:
            self._state = state
            self._news.notify()
        self._start()

    def wait(self, seconds: float) -> None:
        """Wait until the service has everything, after finish()."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._warn(f"{self._sink.title} did not take the last reports in time; metrics.jsonl has them")

    def _start(self) -> None:
        """At the first report, not before: by then the data loaders of the training have forked."""
        if self._thread.ident is None:
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._state)
                records, state = list(self._waiting), self._state
                self._waiting.clear()
            if state and self._failures:
                return
            try:
                self._deliver(records, state)
            except SinkError as error:
                self._failed(records, error)
            if state:
                return

    def _deliver(self, records: list[Record], state: State | None) -> None:
        if not self._opened:
            self._sink.open()
            self._opened = True
        if records:
            self._sink.write(records)
        if state:
            self._sink.close(state)
        self._failures = 0

    def _failed(self, records: list[Record], error: SinkError) -> None:
        """Put the reports back and wait, unless the run ends meanwhile; nobody waits for another try then."""
        if not self._failures:
            reason = shorten(str(error), 200).rstrip(".")
            self._warn(f"no reports to {self._sink.title}: {reason}. Training goes on; metrics.jsonl has everything")
        pause = min(self._retry * 2**self._failures, 3600)
        self._failures += 1
        with self._news:
            newer = list(self._waiting)
            self._waiting.clear()
            self._waiting.extend(records + newer)
            self._news.wait_for(lambda: self._state, timeout=pause)

"""SIGINT and SIGTERM while tuning: what runs is ended, and the tuner ends in order and keeps what it has."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Asked:
    """Which signal asked to stop, if any."""

    signal: signal.Signals | None = None


@contextmanager
def asked_to_stop(then: Callable[[], None]) -> Iterator[Asked]:
    """Within, those signals set `signal` and call `then`. Outside the main thread, where Python allows no handlers,
    nothing changes."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def remember(number: int, frame: FrameType | None) -> None:
        asked.signal = signal.Signals(number)
        then()

    before = {number: signal.signal(number, remember) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

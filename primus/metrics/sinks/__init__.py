"""TensorBoard, Weights & Biases and MLflow: where reports go besides metrics.jsonl. The worker's record() feeds them.

A service that is down or refuses never stops or slows training: each has a thread, a backlog and one warning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module

from primus.metrics.settings import MetricsSettings
from primus.metrics.sinks.channel import Channel
from primus.metrics.sinks.contract import Record, RunFacts, Sink
from primus.run import RunDirectory, State

__all__ = ["RunFacts", "Sink", "Sinks", "open_sinks"]

CLOSE_SECONDS = 30.0
"""How long the end of a run waits for all services together."""

Warn = Callable[[str], None]


class Sinks:
    """All services that one run reports to."""

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = channels

    def record(self, metrics: Mapping[str, float]) -> None:
        """Hand over one report, which has a `step`; returns at once."""
        values = {name: value for name, value in metrics.items() if name != "step"}
        record = Record(step=int(metrics["step"]), values=values, when=time.time())
        for channel in self._channels:
            channel.put(record)

    def close(self, state: State) -> None:
        """Send what is left, and how the run has ended; waits for that, but not for long."""
        for channel in self._channels:
            channel.finish(state)
        deadline = time.monotonic() + CLOSE_SECONDS
        for channel in self._channels:
            channel.wait(max(0.0, deadline - time.monotonic()))


def open_sinks(settings: MetricsSettings, run_dir: RunDirectory, facts: RunFacts, warn: Warn) -> Sinks:
    """The services that the settings switch on, on the one rank that records. `warn` gets lines for the log."""
    return Sinks([Channel(sink, warn) for sink in _wanted(settings, run_dir, facts, warn)])


def _wanted(settings: MetricsSettings, run_dir: RunDirectory, facts: RunFacts, warn: Warn) -> Iterator[Sink]:
    for name in settings.packages():
        module = f"primus.metrics.sinks.to_{name}"
        try:
            # Imported here and not in the thread: a data loader that forks meanwhile must not inherit a held lock.
            sink: Sink = import_module(module).make_sink(settings, run_dir, facts)
        except ImportError as error:
            warn(f"no reports to {name}, which is not installed here ({error}): pip install 'primus[{name}]'")
        else:
            yield sink

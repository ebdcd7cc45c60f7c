"""TensorBoard files, in the run directory or where tensorboard_dir says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from primus.metrics.settings import MetricsSettings
from primus.metrics.sinks.contract import Record, RunFacts, SinkError
from primus.run import RunDirectory, State


def make_sink(settings: MetricsSettings, run_dir: RunDirectory, facts: RunFacts) -> TensorBoard:
    """A writer of this run's own folder."""
    chosen = settings.tensorboard_dir
    return TensorBoard(run_dir.path / "tensorboard" if chosen is None else Path(chosen) / run_dir.id)


class TensorBoard:
    """A Sink that writes event files."""

    title = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def open(self) -> None:
        """The file comes with the first report, which says what an attempt after a failure does again."""

    def write(self, records: Sequence[Record]) -> None:
        try:
            if self._writer is None:
                self._writer = SummaryWriter(str(self._folder), purge_step=records[0].step)
            for record in records:
                for name, value in record.values.items():
                    self._writer.add_scalar(name, value, record.step, walltime=record.when)
            self._writer.flush()
        except OSError as error:
            raise SinkError(f"can't write to {self._folder}: {error.strerror or error}") from error

    def close(self, state: State) -> None:
        if self._writer is not None:
            self._writer.close()

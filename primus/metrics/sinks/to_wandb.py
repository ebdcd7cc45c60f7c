"""Weights & Biases. WANDB_MODE=offline keeps everything in the run directory, for `wandb sync` later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb

from primus.metrics.settings import MetricsSettings
from primus.metrics.sinks.contract import Record, RunFacts, SinkError
from primus.run import RunDirectory, State

_PATIENCE = 20.0
"""Seconds for the first contact; the channel tries again later."""


def make_sink(settings: MetricsSettings, run_dir: RunDirectory, facts: RunFacts) -> WeightsAndBiases:
    """A run there with the id of ours, so that a second attempt continues it."""
    folder = run_dir.path if settings.wandb_save_dir is None else Path(settings.wandb_save_dir)
    return WeightsAndBiases(
        folder,
        {
            "project": settings.wandb_project,
            "entity": settings.wandb_entity,
            "name": settings.wandb_exp_name or facts.experiment,
            "id": run_dir.id,
            "resume": "allow",
            "config": dict(facts.config),
        },
    )


class WeightsAndBiases:
    """A Sink that wandb's own process sends on."""

    title = "Weights & Biases"

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder = folder
        self._identity = identity
        self._run: Any = None

    def open(self) -> None:
        with _explained():
            # A first contact that failed leaves a run behind that would be in the way of this one.
            wandb.teardown()
            self._folder.mkdir(parents=True, exist_ok=True)
            # Without the console: the log of the rank is the run's own.
            settings = wandb.Settings(console="off", silent=True, init_timeout=_PATIENCE)
            self._run = wandb.init(dir=str(self._folder), settings=settings, **self._identity)
            # Not wandb's own step: that one must grow, and a run that goes on from a checkpoint repeats some.
            self._run.define_metric("*", step_metric="step")

    def write(self, records: Sequence[Record]) -> None:
        with _explained():
            for record in records:
                self._run.log({**record.values, "step": record.step})

    def close(self, state: State) -> None:
        with _explained():
            self._run.summary["status"] = state
            self._run.finish(exit_code=0 if state == "succeeded" else 1)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (wandb.Error, OSError) as error:
        raise SinkError(str(error).partition("\n")[0]) from error

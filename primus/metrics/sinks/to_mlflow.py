"""MLflow: the server that MLFLOW_TRACKING_URI names, or a database file in the experiment's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from primus.metrics.settings import MetricsSettings
from primus.metrics.sinks.contract import Record, RunFacts, SinkError
from primus.run import RunDirectory, State

_RUN_TAG = "primus.run"
_BATCH = 100
"""Metrics or parameters in one request; MLflow takes 100 parameters at most."""

_LONGEST = 500
"""Characters of a parameter that every MLflow server takes."""

_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""MLflow itself tries for minutes; the channel does that better, since it can stop when the run ends."""

_STATES = {"succeeded": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def make_sink(settings: MetricsSettings, run_dir: RunDirectory, facts: RunFacts) -> MLflow:
    """A run there with a tag of our run's id, so that a second attempt continues it."""
    local = None if os.environ.get("MLFLOW_TRACKING_URI") else facts.folder.absolute()
    return MLflow(
        experiment=settings.mlflow_experiment_name or facts.experiment,
        name=settings.mlflow_run_name or run_dir.id,
        run_id=run_dir.id,
        config=facts.config,
        local=local,
    )


class MLflow:
    """A Sink that talks to MLflow's tracking interface."""

    title = "MLflow"

    def __init__(
        self, *, experiment: str, name: str, run_id: str, config: Mapping[str, Any], local: Path | None
    ) -> None:
        self._experiment = experiment
        self._name = name
        self._run_id = run_id
        self._config = config
        self._local = local
        """Folder for mlflow.db; None asks MLFLOW_TRACKING_URI."""

        self._client: Any = None
        self._run = ""

    def open(self) -> None:
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        with _explained():
            self._client = MlflowClient(None if self._local is None else f"sqlite:///{self._local / 'mlflow.db'}")
            experiment = self._experiment_id()
            found = self._client.search_runs(
                [experiment], f"tags.`{_RUN_TAG}` = '{self._run_id}'", run_view_type=ViewType.ACTIVE_ONLY
            )
            if found:
                self._run = found[0].info.run_id
                self._client.update_run(self._run, status="RUNNING")
                return
            self._run = self._client.create_run(
                experiment, run_name=self._name, tags={_RUN_TAG: self._run_id}
            ).info.run_id
            parameters = [Param(name, str(value)[:_LONGEST]) for name, value in _flat(self._config)]
            for batch in _batches(parameters):
                self._client.log_batch(self._run, params=batch)

    def write(self, records: Sequence[Record]) -> None:
        with _explained():
            metrics = [
                Metric(name, value, int(record.when * 1000), record.step)
                for record in records
                for name, value in record.values.items()
            ]
            for batch in _batches(metrics):
                self._client.log_batch(self._run, metrics=batch)

    def close(self, state: State) -> None:
        with _explained():
            self._client.set_terminated(self._run, status=_STATES[state])

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        artifacts = None if self._local is None else (self._local / "mlartifacts").as_uri()
        return str(self._client.create_experiment(self._experiment, artifact_location=artifacts))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (MlflowException, OSError) as error:
        raise SinkError(str(error).partition("\n")[0]) from error


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]

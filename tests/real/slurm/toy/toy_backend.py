"""A backend as another package may bring one: its training does in milliseconds what its experiment says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from primus.backends.base import ModelFacts, Resume
from primus.errors import Problem
from primus.experiment import Experiment, Schema, dump
from primus.experiment.schema import Key
from primus.job import Job, Resources

KEYS = (
    Key(name="steps", types=("int",), default=3),
    Key(name="step_seconds", types=("float",), default=0.0),
    Key(name="save_seconds", types=("float",), default=0.0),
    Key(name="hold", types=("int", "none")),
    Key(name="note", types=("str",), default=""),
    Key(name="fail_rank", types=("int", "none")),
    Key(name="fail_status", types=("int",), default=7),
)


class ToyBackend:
    name = "toy"
    packages: tuple[str, ...] = ()

    def variant(self, environ: Mapping[str, str]) -> ToyBackend:
        return self

    def schema(self) -> Schema:
        return Schema(backend="toy", version="toy 1.0", keys={key.name: key for key in KEYS})

    def check(self, experiment: Experiment, resources: Resources | None = None) -> list[Problem]:
        return []

    def newest_checkpoint(self, experiment: Experiment) -> Path | None:
        path = experiment.folder / "checkpoints" / "step"
        return path if path.exists() else None

    def plan(self, experiment: Experiment, resources: Resources, *, run_dir: Path, resume: Resume) -> Job:
        return Job(
            name=experiment.exp_name,
            backend=self.name,
            module="toy_worker",
            args=("--resume", resume),
            total_steps=experiment.plain().get("steps", 3),
            resources=resources,
            run_dir=run_dir,
            files={"experiment.yaml": dump(experiment)},
        )

    def facts(self, experiment: Experiment) -> ModelFacts:
        return ModelFacts(parameters=1, active=1, layers=1, context=1)

    def memory(self, experiment: Experiment, world_size: int) -> int:
        return 0


BACKEND = ToyBackend()

"""The launcher's side of the example: a backend that fits a straight line. It imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from primus.backends.base import ModelFacts, Resume
from primus.errors import Problem, UsageError
from primus.experiment import Experiment, Key, Schema, dump
from primus.job import Job, Resources

KEYS = (
    Key(name="steps", types=("int",), default=100, help="Steps of the training."),
    Key(name="lr", types=("float",), default=0.05, help="Learning rate."),
    Key(name="slope", types=("float",), default=3.0, help="Slope of the line that is to be found."),
    Key(name="save_interval", types=("int",), default=50, help="Steps between two checkpoints; 0 for none."),
)
DEFAULTS = {key.name: key.default for key in KEYS}


class StraightLine:
    """What `primus.backends.base.Backend` asks for."""

    name = "straight_line"
    packages: tuple[str, ...] = ()

    def variant(self, environ: Mapping[str, str]) -> StraightLine:
        return self

    def schema(self) -> Schema:
        return Schema(backend=self.name, version="1.0", keys={key.name: key for key in KEYS})

    def check(self, experiment: Experiment, resources: Resources | None = None) -> list[Problem]:
        problems = []
        lr = experiment.find("lr")
        if lr is not None and lr.data >= 1:
            problems.append(Problem(where=lr.origin, key=lr.path, message=f"{lr.data} diverges; choose less than 1."))
        if resources is not None and resources.world_size > 1:
            problems.append(Problem(message="a straight line is fitted by one process"))
        return problems

    def newest_checkpoint(self, experiment: Experiment) -> Path | None:
        path = experiment.folder / "checkpoints/line.json"
        return path if path.exists() else None

    def plan(self, experiment: Experiment, resources: Resources, *, run_dir: Path, resume: Resume) -> Job:
        return Job(
            name=experiment.exp_name,
            backend=self.name,
            module="straight_line.worker",
            args=("--resume", resume),
            total_steps={**DEFAULTS, **experiment.plain()}["steps"],
            resources=resources,
            run_dir=run_dir,
            files={"experiment.yaml": dump(experiment)},
        )

    def facts(self, experiment: Experiment) -> ModelFacts:
        return ModelFacts(parameters=1, active=1, layers=1, context=1)

    def memory(self, experiment: Experiment, world_size: int) -> int:
        return 8

    def short_run(self, steps: int) -> tuple[str, ...]:
        return (f"steps={steps}", "save_interval=0")

    def matmuls(self, experiment: Experiment, resources: Resources) -> NoReturn:
        raise UsageError("straight_line multiplies no matrices: there is nothing to tune")

    def account(self, experiment: Experiment, world_size: int) -> NoReturn:
        raise UsageError("straight_line has no layers to estimate")

    def arrange(self, experiment: Experiment, arrangement: Any) -> NoReturn:
        raise UsageError("straight_line is fitted by one process: there are no layouts to search")


BACKEND = StraightLine()

"""Trains one point of the grid after the other, each as a `primus train` of its own, so that none leaves memory or
settings to the next."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from primus.backends.prepare import Prepared, prepare
from primus.bench.grid import Point
from primus.bench.measure import Result, judge
from primus.errors import ExperimentError
from primus.experiment import Experiment
from primus.job import Resources
from primus.run import RunDirectory, new_run_id

SUFFIX = "-bench"
"""Of the experiment's name: a folder of its own."""


class Interrupted(Exception):
    """Ctrl-C; the training has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What all points share."""

    exp: str
    backend: str | None
    sets: Sequence[str]
    resources: Resources
    warm_up: int
    steps: int
    environ: Mapping[str, str]

    def measure(self, points: Sequence[Point], tell: Callable[[str], None]) -> list[Result]:
        """A result for each point. ExperimentError when no point can be trained at all."""
        results = []
        for number, point in enumerate(points, start=1):
            tell(f"{number}/{len(points)}  {' '.join(point)}")
            try:
                results.append(self._train(point, self._prepared(point)))
            except ExperimentError as error:
                results.append(Result(point=point, state="refused", reason=str(error)))
                refusal = error
        if all(each.state == "refused" for each in results):
            raise refusal
        return results

    def experiment(self, point: Point) -> Experiment:
        """The user's experiment with the values of a point."""
        return self._prepared(point).usable()

    def _prepared(self, more: Sequence[str]) -> Prepared:
        return prepare(
            self.exp,
            sets=[*self.sets, *more],
            framework=self.backend,
            resources=self.resources,
            environ=self.environ,
        )

    def _train(self, point: Point, wanted: Prepared) -> Result:
        name = f"exp_name={wanted.usable().exp_name}{SUFFIX}"
        more = [*point, name, *wanted.backend.short_run(self.warm_up + self.steps)]
        folder = self._prepared(more).usable().folder
        run_id = new_run_id()
        sets = [word for text in (*self.sets, *more) for word in ("--set", text)]
        backend = ["--backend", self.backend] if self.backend else []
        place = ["--nnodes", "1", "--node-rank", "0", "--nproc-per-node", str(self.resources.nproc_per_node)]
        status, text = _call(
            [sys.executable, "-m", "primus", "train", "--exp", self.exp, *backend, *sets, *place, "--no-resume"],
            {**self.environ, "PRIMUS_RUN_ID": run_id},
        )
        run_dir = RunDirectory.named(folder, run_id)
        if status and not run_dir.status.exists():  # it ended before there was a run
            return Result(point=point, state="failed", reason=text.strip() or f"exit status {status}")
        return judge(point, run_dir.path, status, warm_up=self.warm_up)


def _call(command: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """Exit status and standard error. Ctrl-C reaches the training from the terminal, too: it is waited for."""
    process = subprocess.Popen(
        command, env=dict(environ), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        _, errors = process.communicate()
    except KeyboardInterrupt:
        process.communicate()
        raise Interrupted from None
    return process.returncode, os.fsdecode(errors)

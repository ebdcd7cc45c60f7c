"""`primus.launch`: a training started from Python, with what `primus train` does for one started in a shell."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from primus.backends.base import Resume
from primus.backends.prepare import judge, warn
from primus.errors import MissingError, UsageError
from primus.experiment import Experiment
from primus.experiment.withhold import withhold
from primus.launch.care import Care
from primus.launch.container.prepare import Preparation
from primus.launch.container.request import Request
from primus.launch.devices import find_accelerators
from primus.launch.topology import plan_resources
from primus.launch.training import Training, refusal_told, run_training
from primus.run import RunDirectory, Status
from primus.runs.series import Series, read_series


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A training that has ended, well or not."""

    path: Path
    """The run directory."""

    exit_status: int
    """That of `primus train`: 0 when it went well, else training's own, 128+N when signal N ended it."""

    @property
    def status(self) -> Status:
        """How it ended: `state`, `cause`, `diagnosis`, the workers that failed."""
        status = RunDirectory(self.path).read_status()
        if status is None:
            raise MissingError(f"{self.path} has no status.json: this is not node 0, or the run was removed")
        return status

    @property
    def metrics(self) -> Series:
        """What was logged: `steps`, and `columns` such as `loss` and `tokens_per_second`, each as long as `steps`."""
        return read_series(RunDirectory(self.path).metrics)


def launch(
    experiment: Experiment,
    *,
    nnodes: int = 1,
    node_rank: int = 0,
    nproc_per_node: int | None = None,
    master_addr: str | None = None,
    master_port: int | None = None,
    image: str | None = None,
    resume: Resume = "auto",
    care: Care | None = None,
) -> Run:
    """Train on this machine, or as one node of several, and come back when training has ended.

    The options are those of `primus train`; `resume` is `auto`, `require` (a checkpoint) or `never`, and `care` says
    what is done about hangs, failures and requests to stop. The log of the rank that knows the loss goes to standard
    output. A training that fails is no exception: its Run says so. What keeps it from starting is one: ExperimentError,
    MissingError, UsageError."""
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("primus.launch: call it in the main thread, which is the one that signals reach")
    accelerators = find_accelerators(os.environ)
    resources = plan_resources(
        nnodes=nnodes,
        node_rank=node_rank,
        nproc_per_node=nproc_per_node,
        master_addr=master_addr,
        master_port=master_port,
        accelerators=accelerators,
    )
    with refusal_told(resources):
        prepared = judge(experiment, resources=resources, environ=os.environ)
        usable = withhold(prepared.usable(), os.environ)
        warn(prepared.warnings)
        if prepared.missing:
            raise MissingError("\n".join(str(problem) for problem in prepared.missing))
        inside = None
        if image is not None:
            inside = Preparation(Request(image=image), accelerator=accelerators.kind, environ=os.environ, dry_run=False)
        training = Training(
            backend=prepared.backend,
            experiment=usable,
            resources=resources,
            accelerators=accelerators,
            resume=resume,
            inside=inside,
            care=care or Care(),
        )
        training.beginning()
    ended = run_training(training, argv=sys.argv)
    return Run(path=ended.run_dir, exit_status=ended.exit_status)

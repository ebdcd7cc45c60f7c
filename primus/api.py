"""Primus from Python: `primus.load`, `primus.check` and `primus.plan`. They are the steps that the commands take, too;
the last one, `primus.launch`, is in launch/call.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from primus.backends import registry
from primus.backends.prepare import judge
from primus.errors import Origin, Problem
from primus.experiment import Experiment
from primus.experiment import load as load_experiment
from primus.experiment.dump import format_data
from primus.experiment.withhold import withhold
from primus.job import Job, Resources
from primus.launch.devices import find_accelerators
from primus.launch.dry_run import RUN_ID
from primus.run import RunDirectory


def load(
    exp: str | os.PathLike[str], *, backend: str | None = None, values: Mapping[str, Any] | None = None
) -> Experiment:
    """Read an experiment: a file, or the name of a shipped one.

    `backend` is for a file or a name that leaves it open. `values` replaces values, by the keys that `--set` takes:
    `{"lr": 1e-4}`, `{"training.steps": 5}`, `{"exp_name": "second"}`. Raises ExperimentError with all problems when the
    text is wrong, and MissingError when there is no such experiment; check() says whether it can be used."""
    if backend is not None:
        registry.get(backend, Origin(kind="option", name=f"backend={backend!r}"))
    sets = [f"{key}={format_data(value)}" for key, value in (values or {}).items()]
    return load_experiment(os.fspath(exp), sets=sets, framework=backend, environ=os.environ)


def check(experiment: Experiment, *, nnodes: int = 1, nproc_per_node: int | None = None) -> list[Problem]:
    """Everything that is wrong or doubtful about an experiment, and about running it on so many nodes and processes.

    Without `nproc_per_node` there is a process for each GPU of this machine, or one on its CPU. Nothing is wrong when
    the list is empty; a problem with the severity `error` keeps plan() and launch() from going on."""
    return list(judge(experiment, resources=_resources(nnodes, nproc_per_node), environ=os.environ).problems)


def plan(experiment: Experiment, *, nnodes: int = 1, nproc_per_node: int | None = None) -> Job:
    """What would run, as values: the module and arguments of each worker, its environment, the files beside it.

    Changes nothing, and needs neither the backend's packages nor GPUs. Raises ExperimentError with all problems when
    the experiment can't be used."""
    resources = _resources(nnodes, nproc_per_node)
    prepared = judge(experiment, resources=resources, environ=os.environ)
    usable = withhold(prepared.usable(), os.environ)
    run_dir = RunDirectory.named(usable.folder, RUN_ID)
    return prepared.backend.plan(usable, resources, run_dir=run_dir.path, resume="auto")


def _resources(nnodes: int, nproc_per_node: int | None) -> Resources:
    found = find_accelerators(os.environ)
    processes = nproc_per_node or found.count or 1
    return Resources(nnodes=nnodes, nproc_per_node=processes, accelerator=found.kind, gpu_model=found.model)

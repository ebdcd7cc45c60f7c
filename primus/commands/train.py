"""`primus train`: an experiment file to a finished training on this machine, or on one node of several."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from primus.backends import registry
from primus.backends.base import Resume
from primus.backends.log import size_limit
from primus.backends.prepare import Prepared, prepare, warn
from primus.commands import options
from primus.errors import MissingError, UsageError
from primus.experiment import Experiment
from primus.experiment.withhold import withhold
from primus.job import Resources
from primus.launch.care import Care
from primus.launch.devices import Accelerators, find_accelerators
from primus.launch.ranks import chosen_ranks
from primus.launch.stage import Stage
from primus.launch.topology import plan_resources
from primus.launch.training import Training, refusal_told, run_training
from primus.run import RunDirectory

if TYPE_CHECKING:
    from primus.launch.again import Earlier
    from primus.launch.container.prepare import Preparation
    from primus.launch.container.request import Request
    from primus.tuning.container import Inside

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_CARE = Care()
"""What is done where nothing is chosen."""


@app.command()
def train(
    context: typer.Context,
    exp: options.OptionalExp = None,
    backend: options.BackendName = None,
    sets: options.Sets = None,
    nnodes: options.Nodes = 1,
    node_rank: options.NodeRank = 0,
    nproc_per_node: options.ProcessesHere = None,
    master_addr: options.MasterAddress = None,
    master_port: options.MasterPort = None,
    resume: options.ResumeChoice = None,
    from_run: options.FromRun = None,
    ranks: options.Ranks = None,
    image: options.ContainerImage = None,
    container: options.ContainerRuntime = None,
    privileged: options.ContainerPrivileged = False,
    mounts: options.ContainerMounts = None,
    tune_stage: options.TuneStage = 0,
    tune_iters: options.TuneIterations = 5,
    tune_force: options.TuneForce = False,
    stall_timeout: options.StallTimeout = None,
    on_stall: options.StallAction = "wait",
    max_restarts: options.MaxRestarts = 0,
    rendezvous_timeout: options.RendezvousTimeout = _CARE.rendezvous_timeout,
    grace: options.Grace = _CARE.grace,
    dry_run: options.DryRun = False,
) -> None:
    """Train a model on this machine, or as one node of several; in a container when an image is named.

    An option that is not given is taken from the environment variable behind it, when that is set.
    """
    accelerators = find_accelerators(os.environ)
    if from_run is not None:
        earlier = _earlier(from_run, context, accelerators)
        exp, backend = str(earlier.experiment), backend if _is_given(context, "backend") else None
        nnodes = nnodes if _is_given(context, "nnodes", environment=True) else earlier.nnodes
        nproc_per_node = earlier.nproc_per_node if nproc_per_node is None else nproc_per_node
        image, container = image or earlier.container.get("image"), container or earlier.container.get("runtime")
        privileged = privileged or bool(earlier.container.get("privileged"))
    if exp is None:
        raise UsageError("--exp FILE is missing: an experiment, or with --from-run DIR a run to start again")
    resources = plan_resources(
        nnodes=nnodes,
        node_rank=node_rank,
        nproc_per_node=nproc_per_node,
        master_addr=master_addr or None,
        master_port=master_port,
        accelerators=accelerators,
    )
    size_limit(os.environ)  # refused here, not in each worker
    chosen = chosen_ranks(ranks, resources, os.environ)
    inside = _inside(
        _request(image, container, privileged=privileged, mounts=mounts or []),
        accelerators,
        dry_run=dry_run,
    )
    asked = partial(prepare, exp, framework=backend, environ=os.environ)
    if tune_stage == 2:
        raise typer.Exit(_tune(asked(sets=sets or ()), resources, force=tune_force, inside=inside, dry_run=dry_run))
    with nullcontext() if dry_run else refusal_told(resources):
        prepared = asked(sets=sets or (), resources=resources)
        stage = _stage(
            tune_stage, prepared, resources, steps=tune_iters, force=tune_force, resume=resume, inside=inside
        )
        if (done := stage.done_before()) is not None:
            print(done)
            return
        more = stage.sets(prepared.backend)
        if more:
            prepared = asked(sets=[*(sets or ()), *more], resources=resources)
        training = Training(
            backend=prepared.backend,
            experiment=withhold(_usable(prepared, dry_run=dry_run), os.environ),
            resources=resources,
            accelerators=accelerators,
            resume=_RESUME[resume],
            inside=inside,
            ranks=chosen,
            stage=stage,
            care=Care(
                stall_timeout=stall_timeout,
                on_stall=on_stall,
                max_restarts=max_restarts,
                rendezvous_timeout=rendezvous_timeout,
                grace=grace,
            ),
        )
        beginning = training.beginning()
    if dry_run:
        stage.require(dry_run=True)
        _show(training, beginning)
    else:
        raise typer.Exit(run_training(training, argv=sys.argv).exit_status)


_RESUME: dict[bool | None, Resume] = {None: "auto", True: "require", False: "never"}


def _earlier(path: Path, context: typer.Context, accelerators: Accelerators) -> Earlier:
    """The run that is to be started again; what is different now is printed."""
    from primus.launch.again import differences, read_run

    if _is_given(context, "exp"):
        raise UsageError("--exp and --from-run: a run has its own experiment; give one of the two")
    earlier = read_run(path)
    for difference in differences(earlier, accelerators, os.environ):
        print(f"Warning: {difference}", file=sys.stderr)
    return earlier


def _is_given(context: typer.Context, option: str, *, environment: bool = False) -> bool:
    """Whether an option stands on the command line, or with `environment` in the variable behind it."""
    source = context.get_parameter_source(option)
    return source is not None and source.name in ("COMMANDLINE", *(["ENVIRONMENT"] if environment else []))


def _request(image: str | None, runtime: str | None, *, privileged: bool, mounts: list[str]) -> Request | None:
    """The container that the options ask for."""
    if not (image or runtime or privileged or mounts):
        return None
    from primus.launch.container.request import container_request

    return container_request(image=image, runtime=runtime, privileged=privileged, mounts=mounts)


def _inside(request: Request | None, accelerators: Accelerators, *, dry_run: bool) -> Preparation | None:
    """The container that was asked for; it is looked for while the experiment is read."""
    if request is None:
        return None
    from primus.launch.container.prepare import Preparation

    return Preparation(request, accelerator=accelerators.kind, environ=os.environ, dry_run=dry_run)


def _stage(
    number: int,
    prepared: Prepared,
    resources: Resources,
    *,
    steps: int,
    force: bool,
    resume: bool | None,
    inside: Preparation | None,
) -> Stage:
    """What the stage of the tuning adds to the training."""
    if number == 0:
        return Stage()
    from primus.tuning.choose import stage_of

    return stage_of(
        number,
        backend=prepared.backend,
        experiment=prepared.usable(),
        resources=resources,
        steps=steps,
        force=force,
        insists_on_checkpoint=bool(resume),
        inside=_tuning_inside(inside, prepared.usable(), resources.accelerator).ask if inside else None,
        environ=os.environ,
    )


def _tune(prepared: Prepared, resources: Resources, *, force: bool, inside: Preparation | None, dry_run: bool) -> int:
    """Stage 2, which trains nothing; its exit status."""
    from primus.tuning.place import place_of
    from primus.tuning.stage2 import tune_node
    from primus.tuning.tune import run

    experiment = _usable(prepared, dry_run=True)
    place = place_of(experiment, os.environ)
    if dry_run:
        print(f"Would tune the GEMMs of {place.shapes}, and write {place.results}")
        return 0
    tune = run
    if inside is not None:
        inside.require()
        tune = _tuning_inside(inside, experiment, resources.accelerator).tune
    return tune_node(
        place,
        prepared.backend,
        experiment,
        node_rank=resources.node_rank,
        force=force,
        environ=os.environ,
        tune=tune,
    )


def _tuning_inside(inside: Preparation, experiment: Experiment, accelerator: str) -> Inside:
    """The container that training runs in, for questions of the tuning."""
    from primus.tuning.container import Inside
    from primus.tuning.place import place_of

    return Inside(inside, place_of(experiment, os.environ), accelerator=accelerator, environ=os.environ)


def _usable(prepared: Prepared, *, dry_run: bool) -> Experiment:
    """The experiment; warnings are printed. What is missing here ends a training before it starts."""
    warn(prepared.warnings + (prepared.missing if dry_run else []))
    experiment = prepared.usable()
    if prepared.missing and not dry_run:
        raise MissingError("\n".join(str(problem) for problem in prepared.missing))
    return experiment


def _show(training: Training, beginning: str) -> None:
    """The dry run, which also works where the backend, the image or its runtime is not installed."""
    from primus.launch.dry_run import RUN_ID, explain

    backend, inside = training.backend, training.inside
    training = replace(training, resources=training.resources_with_network(training.resources.master_addr))
    missing = registry.explain_missing(backend) if inside is None else inside.explain_unknown()
    if missing is not None:
        print(f"Warning: {missing}", file=sys.stderr)
    job = training.job(RunDirectory.named(training.experiment.folder, RUN_ID))
    print(explain(job, beginning=beginning, environ=os.environ, container=training.container(job)))

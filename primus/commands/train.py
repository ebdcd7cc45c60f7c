"""`primus train`: an experiment file to a finished training on this machine, or on one node of several."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from primus import __version__
from primus.backends import registry
from primus.backends.base import Backend, Resume
from primus.backends.log import size_limit
from primus.backends.prepare import Prepared, prepare
from primus.commands import options
from primus.errors import MissingError, UsageError
from primus.experiment import Experiment, dump
from primus.experiment.withhold import withhold
from primus.job import Job, Resources, Variable
from primus.launch.care import Care
from primus.launch.container.request import Request, container_request
from primus.launch.devices import Accelerators, find_accelerators
from primus.launch.ranks import chosen_ranks
from primus.launch.topology import plan_resources
from primus.redact import redact_text
from primus.run import RunDirectory

if TYPE_CHECKING:
    from primus.launch.again import Earlier
    from primus.launch.attempts import Steps
    from primus.launch.container.prepare import Preparation
    from primus.launch.container.render import Container

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
    nproc_per_node: options.ProcessesPerNode = None,
    master_addr: options.MasterAddress = None,
    master_port: options.MasterPort = None,
    resume: options.ResumeChoice = None,
    from_run: options.FromRun = None,
    ranks: options.Ranks = None,
    image: options.ContainerImage = None,
    container: options.ContainerRuntime = None,
    privileged: options.ContainerPrivileged = False,
    mounts: options.ContainerMounts = None,
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
        nproc_per_node = nproc_per_node or earlier.nproc_per_node
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
        container_request(image=image, runtime=container, privileged=privileged, mounts=mounts or ()),
        accelerators,
        dry_run=dry_run,
    )
    prepared = prepare(exp, sets=sets or (), framework=backend, resources=resources, environ=os.environ)
    experiment = withhold(_usable(prepared, dry_run=dry_run), os.environ)
    start = _RESUME[resume]
    beginning = _beginning(prepared.backend, experiment, start)
    if dry_run:
        resources = _with_network(resources, accelerators, resources.master_addr)
        _show(prepared.backend, experiment, resources, start, beginning, inside)
    else:
        care = Care(
            stall_timeout=stall_timeout,
            on_stall=on_stall,
            max_restarts=max_restarts,
            rendezvous_timeout=rendezvous_timeout,
            grace=grace,
        )
        os.environ.update(experiment.secrets)  # so that they are known as such wherever they turn up
        _run(prepared.backend, experiment, resources, accelerators, start, inside, care, chosen)


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


def _inside(request: Request | None, accelerators: Accelerators, *, dry_run: bool) -> Preparation | None:
    """The container that was asked for; it is looked for while the experiment is read."""
    if request is None:
        return None
    from primus.launch.container.prepare import Preparation

    return Preparation(request, accelerator=accelerators.kind, environ=os.environ, dry_run=dry_run)


def _usable(prepared: Prepared, *, dry_run: bool) -> Experiment:
    """The experiment; warnings are printed. What is missing here ends a training before it starts."""
    for warning in prepared.warnings + (prepared.missing if dry_run else []):
        print(redact_text(f"Warning: {warning}"), file=sys.stderr)
    experiment = prepared.usable()
    if prepared.missing and not dry_run:
        raise MissingError("\n".join(str(problem) for problem in prepared.missing))
    return experiment


def _beginning(backend: Backend, experiment: Experiment, resume: Resume) -> str:
    """Where training will begin, in words; an error when the checkpoint that is insisted on is not there."""
    newest = backend.newest_checkpoint(experiment)
    if newest is None and resume == "require":
        raise MissingError(
            f"--resume: {experiment.folder} has no checkpoint to resume from. Another exp_name, work_group, user_name "
            "or workspace makes it another folder; without --resume training starts from zero."
        )
    if newest is None:
        return "no checkpoint there; starts from zero"
    return f"from {newest}" if resume != "never" else f"from zero; {newest.parent} is set aside"


def _show(
    backend: Backend,
    experiment: Experiment,
    resources: Resources,
    resume: Resume,
    beginning: str,
    inside: Preparation | None,
) -> None:
    """The dry run, which also works where the backend, the image or its runtime is not installed."""
    from primus.launch.dry_run import RUN_ID, explain

    missing = registry.explain_missing(backend) if inside is None else inside.explain_unknown()
    if missing is not None:
        print(f"Warning: {missing}", file=sys.stderr)
    run_dir = RunDirectory.named(experiment.folder, RUN_ID)
    job = _plan(backend, experiment, resources, run_dir, resume)
    container = inside.plan(job, experiment.plain(), backend.packages) if inside else None
    print(explain(job, beginning=beginning, environ=os.environ, container=container))


def _with_network(resources: Resources, accelerators: Accelerators, address: str | None) -> Resources:
    """With what this node's network looks like, when there are several nodes; doubts are printed."""
    if resources.nnodes == 1:
        return resources
    from primus.launch.network import find_network

    network = find_network(address=address, accelerators=accelerators)
    for warning in network.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    return replace(resources, network=network)


def _run(
    backend: Backend,
    experiment: Experiment,
    resources: Resources,
    accelerators: Accelerators,
    resume: Resume,
    inside: Preparation | None,
    care: Care,
    ranks: tuple[int, ...] | None,
) -> NoReturn:
    from primus.launch.address import check_address
    from primus.launch.attempt import choose_run_id
    from primus.launch.attempts import run_attempts
    from primus.launch.network import check_choices
    from primus.launch.rendezvous import refusal_told
    from primus.launch.sole import sole_run

    with ExitStack() as held:
        with refusal_told(resources):
            if inside is None:
                registry.require_packages(backend)
            else:
                inside.require()
            resources = _with_network(resources, accelerators, check_address(resources))
            if resources.nnodes > 1:
                check_choices(os.environ, accelerators)
            run_id = choose_run_id(os.environ)
            if resources.node_rank == 0:
                held.enter_context(sole_run(experiment.folder, run_id))
        steps = _steps(backend, experiment, resources, run_id, resume, inside, care, ranks)
        status = run_attempts(steps, care, argv=sys.argv, environ=os.environ)
    raise typer.Exit(status)


def _steps(
    backend: Backend,
    experiment: Experiment,
    resources: Resources,
    run_id: str,
    resume: Resume,
    inside: Preparation | None,
    care: Care,
    ranks: tuple[int, ...] | None,
) -> Steps:
    """How each launch in the run directory of node 0's run id is prepared."""
    from primus.launch.attempt import has_begun, next_attempt, set_aside
    from primus.launch.attempts import Steps
    from primus.launch.link import Link
    from primus.launch.rendezvous import Agreed, agree

    def decide() -> Agreed:
        run_dir = RunDirectory.named(experiment.folder, run_id)
        attempt = next_attempt(run_dir)
        set_aside(run_dir, attempt)
        return Agreed(run_id=run_id, attempt=attempt)

    def meet() -> tuple[Agreed, Link]:
        if resources.nnodes == 1:
            return decide(), Link({})
        return agree(resources, digest=_digest(experiment), decide=decide, timeout=care.rendezvous_timeout)

    def plan(agreed: Agreed) -> tuple[Job, Container | None]:
        run_dir = RunDirectory.named(experiment.folder, agreed.run_id)
        start = "auto" if resume == "never" and has_begun(run_dir) else resume
        job = _plan(backend, experiment, resources, run_dir, start)
        job = replace(job, attempt=agreed.attempt, console_ranks=job.console_ranks if ranks is None else ranks)
        return job, inside.plan(job, experiment.plain(), backend.packages) if inside else None

    return Steps(meet=meet, plan=plan, newest_checkpoint=lambda: backend.newest_checkpoint(experiment))


def _plan(backend: Backend, experiment: Experiment, resources: Resources, run_dir: RunDirectory, resume: Resume) -> Job:
    """The backend's job, whose workers are also told the secrets that the experiment refers to."""
    job = backend.plan(experiment, resources, run_dir=run_dir.path, resume=resume)
    told = [
        Variable(name=name, value=value, reason="the experiment refers to it")
        for name, value in experiment.secrets.items()
    ]
    return replace(job, environment=(*job.environment, *told))


def _digest(experiment: Experiment) -> str:
    """The same on two nodes when they would train the same."""
    import hashlib

    return hashlib.sha256(f"{__version__}\n{dump(experiment)}".encode()).hexdigest()

"""`primus slurm submit`: an experiment to a job of SLURM."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from primus.backends.prepare import warn
from primus.commands import options as shared
from primus.commands.slurm import examine
from primus.errors import UsageError
from primus.launch.care import Care
from primus.launch.slurm.prepare import Ready, Wish, prepare_submission
from primus.run import RunDirectory

_Text = str | None

_CARE = Care()
"""What `primus train` does where nothing is chosen."""


def add_to(app: typer.Typer) -> None:
    app.command(short_help="Submit an experiment as a batch job.")(submit)


def _option(help: str, *names: str, variable: str | None = None, metavar: str = "NAME") -> Any:
    """An option of sbatch; the variable is the one that sbatch itself reads."""
    return typer.Option(*names, envvar=variable, metavar=metavar, help=help, show_default=False)


def submit(
    context: typer.Context,
    exp: shared.OptionalExp = None,
    backend: shared.BackendName = None,
    sets: shared.Sets = None,
    nnodes: shared.Nodes = 1,
    nproc_per_node: Annotated[
        int | None,
        typer.Option(envvar="GPUS_PER_NODE", min=1, metavar="N", help="Worker processes per node. [default: per GPU]"),
    ] = None,
    master_port: shared.MasterPort = None,
    partition: Annotated[_Text, _option("Partition.", variable="SBATCH_PARTITION")] = None,
    account: Annotated[_Text, _option("Account to charge.", variable="SBATCH_ACCOUNT")] = None,
    qos: Annotated[_Text, _option("Quality of service.", variable="SBATCH_QOS")] = None,
    time: Annotated[_Text, _option("Time limit.", variable="SBATCH_TIMELIMIT", metavar="[D-]H:M:S")] = None,
    exclusive: Annotated[
        bool | None, typer.Option("--exclusive/--no-exclusive", help="Whole nodes.  [default: exclusive]")
    ] = None,
    nodelist: Annotated[_Text, _option("Nodes to have.", metavar="NODES")] = None,
    exclude: Annotated[_Text, _option("Nodes to avoid.", metavar="NODES")] = None,
    constraint: Annotated[_Text, _option("Features of nodes.", variable="SBATCH_CONSTRAINT", metavar="LIST")] = None,
    gres: Annotated[_Text, _option("Resources per node.", variable="SBATCH_GRES", metavar="LIST")] = None,
    gpus_per_node: Annotated[
        _Text, _option("GPUs per node.", variable="SBATCH_GPUS_PER_NODE", metavar="[TYPE:]N")
    ] = None,
    cpus_per_task: Annotated[
        int | None,
        typer.Option(metavar="N", help="CPUs per node.  [default: all of them]", show_default=False),
    ] = None,
    mem: Annotated[_Text, _option("Memory per node.", variable="SBATCH_MEM_PER_NODE", metavar="SIZE")] = None,
    reservation: Annotated[_Text, _option("Reservation.", variable="SBATCH_RESERVATION")] = None,
    dependency: Annotated[_Text, _option("Start after other jobs.", metavar="afterok:ID")] = None,
    comment: Annotated[_Text, _option("Comment for the accounts.", metavar="TEXT")] = None,
    mail: Annotated[_Text, _option("Tell this address how the job ends.", metavar="ADDRESS")] = None,
    job_name: Annotated[
        _Text, _option("Name of the job.  [default: the experiment's]", variable="SBATCH_JOB_NAME")
    ] = None,
    sbatch_args: Annotated[
        list[str] | None,
        typer.Option("--sbatch-arg", metavar="OPTION", help="Any other option of sbatch; can be repeated."),
    ] = None,
    array: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=V1,V2", help="One run for each value; several give every combination."),
    ] = None,
    setup: Annotated[_Text, _option("Shell lines to run before the training.", metavar="FILE")] = None,
    snapshot: Annotated[bool, typer.Option("--snapshot", help="Run a copy of the working tree as it is now.")] = False,
    tune_stage: Annotated[
        int,
        typer.Option(
            envvar="PRIMUS_HIPBLASLT_TUNING_STAGE", min=0, max=3, metavar="N", help="Stage of the GEMM tuning."
        ),
    ] = 0,
    log_dir: Annotated[
        _Text, _option("Folder for logs.  [default: in the run directory]", variable="LOG_DIR", metavar="FOLDER")
    ] = None,
    image: shared.ContainerImage = None,
    container: shared.ContainerRuntime = None,
    privileged: shared.ContainerPrivileged = False,
    mounts: shared.ContainerMounts = None,
    resume: shared.ResumeChoice = None,
    stall_timeout: shared.StallTimeout = None,
    on_stall: shared.StallAction = "wait",
    max_restarts: shared.MaxRestarts = 0,
    rendezvous_timeout: shared.RendezvousTimeout = _CARE.rendezvous_timeout,
    grace: shared.Grace = _CARE.grace,
    max_requeues: Annotated[
        int | None, _option("Start again so often after a node failure or preemption.  [default: 3]", metavar="N")
    ] = None,
    exclude_failed_nodes: Annotated[
        bool | None,
        typer.Option(
            "--exclude-failed-nodes/--no-exclude-failed-nodes",
            help="Leave a node out from the next attempt on, once one was lost on it.  [default: no]",
            show_default=False,
        ),
    ] = None,
    chain: Annotated[int | None, _option("Go on in up to N further jobs when the time is up.", metavar="N")] = None,
    save_before: Annotated[
        int | None, _option("Save and end so long before the time limit.  [default: 300]", metavar="SECONDS")
    ] = None,
    lost_timeout: Annotated[
        int | None,
        _option("Give a node up after so long without a sign of life; 0 never.  [default: 300]", metavar="SECONDS"),
    ] = None,
    doctor: Annotated[
        bool, typer.Option("--doctor", help="Examine the nodes instead: `primus doctor` on all of them.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="With --doctor: measure longer, and all pairs.")] = False,
    workspace: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="With --doctor: where runs go.  [default: output]", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With --doctor: where data is.  [default: $DATA_PATH]")
    ] = None,
    step_timeout: Annotated[
        float | None,
        typer.Option(
            min=1, callback=shared.no_nan, metavar="SECONDS", help="With --doctor: for one measurement of a worker."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the job has ended, and leave with its status.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Like --wait, and show what the first node prints.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Run in the foreground as soon as there are nodes.")
    ] = False,
    parsable: Annotated[bool, typer.Option("--parsable", help="Print nothing but the job's id.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dry_run: shared.DryRun = False,
) -> None:
    """Submit an experiment as a batch job, after checking whether it can run on this cluster; or with --doctor a job
    that examines its nodes.

    An option that is not given is taken from the environment variable behind it, then from the site's file
    (~/.config/primus/slurm.toml, or the one that PRIMUS_SLURM_CONFIG names).
    """
    warn(examine.refuse_other_options(context))
    _exclude(("--wait or --follow", wait or follow), ("--interactive", interactive), ("--dry-run", dry_run))
    _exclude(("--parsable", parsable), ("--json", as_json))
    if chain and interactive:
        raise UsageError("--chain and --interactive exclude each other: only a batch job can submit the next one")
    if array and (follow or interactive):
        raise UsageError(f"--array has several runs, {'--follow' if follow else '--interactive'} shows one; see --wait")
    ready = _examination(context) if doctor else _training(context)
    warn(ready.warnings)
    if dry_run:
        _show(ready)
    elif interactive:
        from primus.launch.slurm.submit import run_interactively

        raise typer.Exit(run_interactively(ready.submission, argv=sys.argv))
    else:
        _submit(ready, parsable=parsable, as_json=as_json, wait=wait or follow, follow=follow)


def _training(context: typer.Context) -> Ready:
    """The job that trains."""
    chosen, given = context.params, _given(context)
    if chosen["exp"] is None:
        raise UsageError("--exp FILE is missing: an experiment to train, or --doctor to examine nodes")
    tunes = chosen["tune_stage"] == 2
    wish = Wish(
        exp=chosen["exp"],
        backend=chosen["backend"],
        sets=chosen["sets"] or (),
        arrays=chosen["array"] or (),
        train_options=_passed_on(context),
        tunes=tunes,
        resume=chosen["resume"],
        snapshot=chosen["snapshot"],
        dry_run=chosen["dry_run"],
    )
    if tunes and chosen["nnodes"] > 1:
        print(f"Warning: stage 2 of the tuning takes one node, not {chosen['nnodes']}", file=sys.stderr)
        given["nnodes"] = 1
    return prepare_submission(wish, given=given, origins=_origins(context), environ=os.environ)


def _examination(context: typer.Context) -> Ready:
    """The job that examines its nodes."""
    from primus.launch.slurm.examination import prepare_examination

    given = {name: value for name, value in _given(context).items() if name not in examine.TRAINING}
    wish = examine.examination(context)
    return prepare_examination(wish, given=given, origins=_origins(context), environ=os.environ)


_FIELDS = (
    *("nnodes", "nproc_per_node", "partition", "account", "qos", "time", "exclusive", "nodelist", "exclude"),
    *("constraint", "gres", "gpus_per_node", "cpus_per_task", "mem", "reservation", "dependency", "comment", "mail"),
    *("job_name", "sbatch_args", "setup", "image", "master_port", "log_dir"),
    *("max_requeues", "exclude_failed_nodes", "chain", "save_before", "lost_timeout"),
)
"""Parameters of submit() that are fields of Options."""


def _given(context: typer.Context) -> dict[str, Any]:
    """What was given on the command line or in the environment."""
    found = {name: context.params[name] for name in _FIELDS}
    given = {name: value for name, value in found.items() if value not in (None, "", [], ())}
    return given | ({"sbatch_args": tuple(given["sbatch_args"])} if "sbatch_args" in given else {})


def _origins(context: typer.Context) -> dict[str, str]:
    """The option or the variable that each value is from."""
    origins = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            origins[str(parameter.name)] = max(parameter.opts, key=len)
        elif source is not None and source.name == "ENVIRONMENT":
            origins[str(parameter.name)] = f"${parameter.envvar}"
    return origins


_PASSED_ON = (
    *("container", "privileged", "mounts", "tune_stage"),
    *("stall_timeout", "on_stall", "max_restarts", "rendezvous_timeout", "grace"),
)
"""Parameters of submit() that are options of `primus train` and nothing else."""


def _passed_on(context: typer.Context) -> list[str]:
    """The options that were given for `primus train`, as its command line takes them."""
    names = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    words = []
    for name in _PASSED_ON:
        source, value = context.get_parameter_source(name), context.params[name]
        if source is None or source.name.startswith("DEFAULT"):
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each not in (None, False):
                words += [names[name]] if each is True else [names[name], str(each)]
    return words


def _exclude(*choices: tuple[str, bool]) -> None:
    chosen = [name for name, given in choices if given]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} exclude each other")


def _submit(ready: Ready, *, parsable: bool, as_json: bool, wait: bool, follow: bool) -> None:
    from primus.launch.slurm.record import JobFiles
    from primus.launch.slurm.submit import submit

    submission = ready.submission
    submitted = submit(submission, argv=sys.argv)
    first = RunDirectory(submission.runs[0].path)
    runs = [(submitted.of_task(submission, index), run) for index, run in enumerate(submission.runs)]
    if parsable:
        print(submitted.job, flush=True)
    elif as_json:
        listed = [{"job": job, "run": str(run.path), "values": run.task.values} for job, run in runs]
        report = {"report": str(first.report), "page": str(first.page)} if submission.examines else {}
        print(json.dumps({"job": submitted.job, "cluster": submitted.cluster, "runs": listed, **report}), flush=True)
    else:
        print(f"Submitted job {submitted.job}: {submission.name}, {_nodes(submission.options.nnodes)}")
        for job, run in runs:
            values = "".join(f" {each}" for each in run.task.sets)
            print(f"Run directory: {run.path}" if not values else f"{job}:{values}  {run.path}", flush=True)
        if submission.examines:
            print(f"Report: {first.page}", flush=True)
    if wait:
        from primus.launch.slurm.attach import wait as wait_for

        jobs = [(job, JobFiles(run.path)) for job, run in runs]
        logs = [JobFiles(submission.runs[0].path).node_log(0)] if follow else []
        status = wait_for(jobs, os.environ, logs=logs)
        if submission.examines and not (follow or parsable or as_json):
            examine.print_report(first.report)
        raise typer.Exit(status)


def _show(ready: Ready) -> None:
    from primus.launch.slurm.explain import explain

    print(explain(ready.submission, ready.origins), end="")


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count > 1)}"

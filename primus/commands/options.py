"""Options that several commands share, each with the environment variable of the original scripts behind it: `primus
train` takes them all, and the commands that submit a training elsewhere take the same ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from primus.commands.completion import complete_experiment, complete_set
from primus.launch.care import OnStall


def no_nan(value: float | None) -> float | None:
    """For options that take a number with a point: NaN is neither below nor above any limit."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


def processes(text: str) -> int:
    """A number of processes; 0 for `auto`."""
    if text == "auto":
        return 0
    if text.isdecimal() and int(text):
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither a number, 1 or more, nor auto")


Exp = Annotated[
    str,
    typer.Option(
        envvar="EXP",
        metavar="FILE",
        help="Experiment file, or the name of a shipped one.",
        autocompletion=complete_experiment,
    ),
]

OptionalExp = Annotated[
    str | None,
    typer.Option(
        envvar="EXP",
        metavar="FILE",
        help="Experiment file, or the name of a shipped one.",
        autocompletion=complete_experiment,
    ),
]

FromRun = Annotated[
    Path | None,
    typer.Option(
        "--from-run", metavar="DIR", help="Start an earlier run again: its experiment, backend, processes and image."
    ),
]

Ranks = Annotated[
    str | None,
    typer.Option(
        metavar="RANKS",
        help="Whose output is shown here, such as 0,last or 0-3, first (of each node) or all.  "
        "[default: the rank that knows the loss]",
    ),
]

BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend", envvar="BACKEND", metavar="NAME", help="megatron or torchtitan, for a file that names none."
    ),
]

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value; can be repeated.", autocompletion=complete_set),
]

Nodes = Annotated[int, typer.Option(envvar="NNODES", min=1, metavar="N", help="Nodes of the job.")]

NodeRank = Annotated[int, typer.Option(envvar="NODE_RANK", min=0, metavar="N", help="Which of them this is, from 0.")]

ProcessesPerNode = Annotated[
    int | None,
    typer.Option(
        envvar="GPUS_PER_NODE", min=1, metavar="N", help="Worker processes here.  [default: one per GPU, else 1]"
    ),
]

ProcessesHere = Annotated[
    int | None,
    typer.Option(
        envvar="GPUS_PER_NODE",
        parser=processes,
        metavar="N",
        help="Worker processes here; auto is one per GPU, else 1.  [default: auto]",
    ),
]

MasterAddress = Annotated[
    str | None, typer.Option(envvar="MASTER_ADDR", metavar="HOST", help="Address of node 0, for several nodes.")
]

MasterPort = Annotated[
    int | None,
    typer.Option(envvar="MASTER_PORT", min=1, max=65535, metavar="PORT", help="Port that is free on node 0."),
]

ResumeChoice = Annotated[
    bool | None,
    typer.Option(
        "--resume/--no-resume",
        help="Insist on a checkpoint, or start from zero.  [default: resume when there is one]",
    ),
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would run and change nothing.")]

TuneStage = Annotated[
    int,
    typer.Option(
        "--tune-stage",
        envvar="PRIMUS_HIPBLASLT_TUNING_STAGE",
        min=0,
        max=3,
        metavar="N",
        help="Tuning of GEMM kernels (AMD GPUs): 1 dumps their shapes, 2 tunes, 3 trains with the result, 0 none.",
    ),
]

TuneIterations = Annotated[
    int,
    typer.Option("--tune-iters", envvar="PRIMUS_TUNE_ITERS", min=1, metavar="N", help="Steps of --tune-stage 1."),
]

TuneForce = Annotated[
    bool,
    typer.Option(
        "--tune-force",
        envvar="PRIMUS_TUNE_FORCE",
        help="Take files in --tune-stage 2 and 3 that were made for another model, GPU or hipBLASLt build.",
    ),
]

ContainerImage = Annotated[
    str | None,
    typer.Option("--image", envvar="DOCKER_IMAGE", metavar="IMAGE", help="Run in a container of this image."),
]

ContainerRuntime = Annotated[
    str | None,
    typer.Option(
        "--container",
        metavar="NAME",
        help="docker, podman or apptainer.  [default: the one that is here, with --image]",
    ),
]

ContainerPrivileged = Annotated[
    bool, typer.Option("--privileged", help="Give the container every device and right; seldom needed.")
]

ContainerMounts = Annotated[
    list[str] | None,
    typer.Option(
        "--mount", metavar="HOST[:CONTAINER[:ro]]", help="Show the container one more folder; can be repeated."
    ),
]

StallTimeout = Annotated[
    float | None,
    typer.Option(
        envvar="PRIMUS_STALL_TIMEOUT",
        min=0,
        callback=no_nan,
        metavar="SECONDS",
        help="Report where every rank is after so long without a step; 0 never.  "
        "[default: 10 median steps, at least 300]",
    ),
]

StallAction = Annotated[
    OnStall,
    typer.Option("--on-stall", envvar="PRIMUS_ON_STALL", help="Go on waiting after that, or end with status 124."),
]

MaxRestarts = Annotated[
    int,
    typer.Option(
        envvar="PRIMUS_MAX_RESTARTS",
        min=0,
        metavar="N",
        help="Start again from the newest checkpoint so often, after failures that can pass.",
    ),
]

RendezvousTimeout = Annotated[
    float,
    typer.Option(
        envvar="PRIMUS_RENDEZVOUS_TIMEOUT",
        min=1,
        callback=no_nan,
        metavar="SECONDS",
        help="How long the nodes wait for each other.",
    ),
]

Grace = Annotated[
    float,
    typer.Option(
        envvar="PRIMUS_GRACE",
        min=0,
        callback=no_nan,
        metavar="SECONDS",
        help="Time for the last step and checkpoint when asked to stop, before the kill.",
    ),
]

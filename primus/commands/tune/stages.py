"""`primus tune --stage N`: one stage of the tuning, or all of them, here or on a cluster. Each stage is a run of
`primus train`, `primus slurm submit` or `primus k8s create` with its --tune-stage: this command knows their order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from primus.commands import options
from primus.commands.tune import run
from primus.commands.tune.given import (
    PASSED_ON,
    TARGETS,
    Also,
    Engine,
    Force,
    Fresh,
    Gpus,
    MaxWorkspace,
    Rocm,
    Steps,
    Target,
    TimeLimit,
    Wish,
)
from primus.errors import UsageError, did_you_mean

STAGES = {"1": (1,), "2": (2,), "3": (3,), "all": (1, 2, 3)}
MORE = "primus.tune.more"
"""Where the context keeps what stands after `--`."""


class StagesGroup(TyperGroup):
    """Keeps what stands after `--` for the command that runs a stage; click would look for a sub-command there."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[MORE] = args[end + 1 :]
        return super().parse_args(ctx, args[:end])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS] [-- OPTIONS OF THE TARGET] | COMMAND [ARGS]..."]


def tune(
    context: typer.Context,
    stage: Annotated[
        str | None,
        typer.Option(metavar="1|2|3|all", help="1 dumps the shapes, 2 tunes them, 3 trains with the tuned kernels."),
    ] = None,
    target: Target = "local",
    exp: options.OptionalExp = None,
    backend: options.BackendName = None,
    sets: options.Sets = None,
    nnodes: options.Nodes = 1,
    node_rank: options.NodeRank = 0,
    nproc_per_node: options.ProcessesPerNode = None,
    master_addr: options.MasterAddress = None,
    master_port: options.MasterPort = None,
    image: options.ContainerImage = None,
    container: options.ContainerRuntime = None,
    privileged: options.ContainerPrivileged = False,
    mounts: options.ContainerMounts = None,
    train_iters: Steps = 5,
    engine: Engine = None,
    gpus: Gpus = None,
    time_limit: TimeLimit = None,
    max_workspace: MaxWorkspace = None,
    also: Also = None,
    rocm: Rocm = None,
    force: Force = False,
    fresh: Fresh = False,
    dry_run: options.DryRun = False,
) -> None:
    """Tune the GEMM kernels of AMD GPUs (hipBLASLt) for an experiment, in three stages.

    Stage 1 trains a few steps and collects the shapes, stage 2 looks for faster kernels, stage 3 trains with them.
    Options after `--` go to the command that runs the stage: primus train, slurm submit or k8s create.
    """
    if context.invoked_subcommand is not None:
        if stage is not None:
            raise UsageError(f"--stage {stage} and the command {context.invoked_subcommand}: give one of the two")
        return
    chosen = _stages(stage)
    if target not in TARGETS:
        raise UsageError(f"--target {target}: expected one of {', '.join(TARGETS)}.{did_you_mean(target, TARGETS)}")
    if exp is None:
        raise UsageError("--exp FILE is missing: the experiment to tune for")
    wish = Wish(
        exp=exp,
        options=_given(context),
        variables=_variables(
            PRIMUS_TUNE_ITERS=train_iters if _is_given(context, "train_iters") else None,
            PRIMUS_TUNE_FORCE=1 if force else None,
            PRIMUS_TUNE_FRESH=1 if fresh else None,
            PRIMUS_TUNE_RESUME=1 if stage == "all" and not fresh else None,
            PRIMUS_TUNE_ENGINE=engine,
            PRIMUS_TUNE_GPUS=gpus,
            PRIMUS_TUNE_TIME_LIMIT=time_limit,
            PRIMUS_TUNE_WORKSPACE=max_workspace,
            PRIMUS_TUNE_ALSO=",".join(also or ()),
            PRIMUS_TUNE_ROCM=None if rocm is None else Path(os.path.abspath(rocm)),
        ),
        more=tuple(context.meta[MORE]),
        dry_run=dry_run,
    )
    raise typer.Exit(run.TARGETS[target](wish, chosen))


def _stages(stage: str | None) -> tuple[int, ...]:
    if stage in STAGES:
        return STAGES[stage]
    expected = f"expected {', '.join(STAGES)}"
    raise UsageError(f"--stage is missing: {expected}" if stage is None else f"--stage {stage}: {expected}")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _given(context: typer.Context) -> dict[str, Any]:
    """Options of training from the command line; those from variables reach the other command by themselves."""
    return {name: context.params[name] for name in PASSED_ON if _is_given(context, name)}


def _variables(**values: Any) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value}

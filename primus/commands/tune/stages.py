"""`primus tune --stage N`: one stage of the tuning, or all of them, here or on a cluster. Each stage is a run of
`primus train`, `primus slurm submit` or `primus k8s create` with its --tune-stage: this command knows their order."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from primus.commands import options
from primus.errors import UsageError, did_you_mean

STAGES = {"1": (1,), "2": (2,), "3": (3,), "all": (1, 2, 3)}
TARGETS = ("local", "slurm", "k8s")
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
    target: Annotated[str, typer.Option(metavar="local|slurm|k8s", help="Where the stages run.")] = "local",
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
    train_iters: Annotated[
        int, typer.Option(envvar="PRIMUS_TUNE_ITERS", min=1, metavar="N", help="Steps of stage 1.")
    ] = 5,
    force: Annotated[
        bool, typer.Option("--force", help="Take files made for another model, GPU or hipBLASLt build.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Repeat what is done already; earlier files are set aside.")
    ] = False,
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
    raise UsageError(f"stages {chosen} on {target}: not yet {sys.argv[0]}")


def _stages(stage: str | None) -> tuple[int, ...]:
    if stage in STAGES:
        return STAGES[stage]
    expected = f"expected {', '.join(STAGES)}"
    raise UsageError(f"--stage is missing: {expected}" if stage is None else f"--stage {stage}: {expected}")

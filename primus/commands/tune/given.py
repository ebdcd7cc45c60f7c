"""The options of `primus tune` that training does not have, and what it was asked for. stages.py makes a Wish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from primus.errors import UsageError

TARGETS = ("local", "slurm", "k8s")

Target = Annotated[str, typer.Option(metavar="|".join(TARGETS), help="Where the stages run.")]

Steps = Annotated[int, typer.Option(envvar="PRIMUS_TUNE_ITERS", min=1, metavar="N", help="Steps of stage 1.")]

Engine = Annotated[
    str | None,
    typer.Option(
        metavar="auto|bench|library",
        help="Stage 2 with hipblaslt-bench, or with the library itself.  [default: auto, what is here]",
    ),
]

Gpus = Annotated[int | None, typer.Option(min=1, metavar="N", help="GPUs for stage 2.  [default: all visible]")]

TimeLimit = Annotated[
    int | None, typer.Option(min=1, metavar="SECONDS", help="For one shape in stage 2.  [default: 900]")
]

MaxWorkspace = Annotated[
    int | None,
    typer.Option(min=1, metavar="BYTES", help="Workspace that training gives to a GEMM.  [default: 67108864]"),
]

Also = Annotated[
    list[str] | None,
    typer.Option(metavar="te|tunableop", help="Write stage 2's winners for these, too; can be repeated."),
]

Rocm = Annotated[Path | None, typer.Option(metavar="FOLDER", help="ROCm to use in stage 2.  [default: found]")]

Force = Annotated[bool, typer.Option("--force", help="Take files made for another model, GPU or hipBLASLt build.")]

Fresh = Annotated[bool, typer.Option("--fresh", help="Repeat what is done already; earlier files are set aside.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What `primus tune --stage` was asked for."""

    exp: str
    options: Mapping[str, Any]
    """Of training, by the names in PASSED_ON, as far as they stand on the command line."""

    variables: Mapping[str, str]
    """How the stages are told the rest."""

    more: tuple[str, ...]
    """What stands after `--`."""

    dry_run: bool


PASSED_ON = {
    "backend": "--backend",
    "sets": "--set",
    "nnodes": "--nnodes",
    "node_rank": "--node-rank",
    "nproc_per_node": "--nproc-per-node",
    "master_addr": "--master-addr",
    "master_port": "--master-port",
    "image": "--image",
    "container": "--container",
    "privileged": "--privileged",
    "mounts": "--mount",
}
"""Options of `primus train`, by the names of our parameters."""


def words(options: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Options as they stand on a command line."""
    found: list[str] = []
    for name, value in options.items():
        for each in value if isinstance(value, (list, tuple)) else [value]:
            found += [names[name]] if each is True else [names[name], str(each)]
    return found


def stage_words(wish: Wish, stage: int) -> list[str]:
    """What every command is told that runs a stage."""
    return ["--exp", wish.exp, "--tune-stage", str(stage), *(["--dry-run"] if wish.dry_run else [])]


def refuse(wish: Wish, target: str, names: Sequence[str]) -> None:
    """UsageError for options that a target decides itself."""
    wrong = [PASSED_ON[name] for name in names if name in wish.options]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: not with --target {target}, which decides that itself")

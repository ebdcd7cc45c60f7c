"""`primus slurm submit --doctor`: which options it takes, and what it asks for. submit.py calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from primus.errors import UsageError

if TYPE_CHECKING:
    from primus.launch.slurm.examination import Examination

TRAINING = frozenset(
    {
        *("exp", "backend", "sets", "array", "snapshot", "tune_stage", "resume"),
        *("image", "container", "privileged", "mounts"),
        *("stall_timeout", "on_stall", "max_restarts", "grace"),
        *("max_requeues", "exclude_failed_nodes", "chain", "save_before"),
    }
)
"""Parameters of submit() that mean something to a training only."""

_EXAMINING = frozenset({"full", "workspace", "data", "step_timeout"})
"""Parameters of submit() that mean something to an examination only."""

_MEETING = 120.0
"""Seconds until a node that does not come is named; SLURM starts all of them at once."""


def refuse_other_options(context: typer.Context) -> list[str]:
    """UsageError for options that the job has no use for, each by its name. The variables behind such options are set
    for trainings as well: a warning for those."""
    examines = context.params["doctor"]
    options, variables = [], []
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name not in (TRAINING if examines else _EXAMINING) or source is None:
            continue
        if source.name == "COMMANDLINE":
            options.append("/".join([*parameter.opts, *parameter.secondary_opts]))
        elif source.name == "ENVIRONMENT":
            variables.append(f"${parameter.envvar}")
    if options and examines:
        raise UsageError(f"--doctor examines nodes and trains nothing, so it takes no {', '.join(options)}")
    if options:
        raise UsageError(f"{', '.join(options)}: only together with --doctor")
    return [f"not used by --doctor: {', '.join(variables)}"] if variables else []


def examination(context: typer.Context) -> Examination:
    """What the options ask for."""
    from primus.launch.slurm.examination import Examination

    given = context.params
    source = context.get_parameter_source("rendezvous_timeout")
    default = source is None or source.name.startswith("DEFAULT")
    values = {
        "--data": given["data"],
        "--step-timeout": given["step_timeout"],
        "--rendezvous-timeout": _MEETING if default else given["rendezvous_timeout"],
    }
    words = ["--full"] if given["full"] else []
    words += [word for name, value in values.items() if value is not None for word in (name, str(value))]
    return Examination(workspace=given["workspace"] or Path("output"), doctor_options=words, dry_run=given["dry_run"])


def print_report(path: Path) -> None:
    """What an examination has found, if it came so far."""
    from primus.doctor.report import text

    if path.exists():
        print(text(json.loads(path.read_text(encoding="utf-8"))))

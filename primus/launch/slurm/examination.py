"""A job that examines its nodes instead of training on them: `primus doctor` on each, in a run directory of its own.
`primus slurm submit --doctor` prepares it here."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from primus.launch.attempt import choose_run_id
from primus.launch.dry_run import RUN_ID
from primus.launch.slurm import options as rules
from primus.launch.slurm.options import Options
from primus.launch.slurm.plan import plan_examination
from primus.launch.slurm.prepare import Problems, Ready, check_cluster, check_files
from primus.launch.slurm.site import settle


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What the user asks for, besides the options that Options holds."""

    workspace: Path
    doctor_options: Sequence[str] = ()
    """Passed on to `primus doctor`."""

    dry_run: bool = False


_NONE_OF = {"max_requeues": 0, "exclude_failed_nodes": False, "chain": 0, "save_before": None, "image": None}
"""What a site's file may say for trainings: an examination saves nothing and goes on from nothing, and a node that is
lost is what it has to tell of."""


def prepare_examination(
    wish: Examination, *, given: Mapping[str, Any], origins: Mapping[str, str], environ: Mapping[str, str]
) -> Ready:
    """The submission, or an error with everything that speaks against it."""
    settled, places = settle(given, origins, environ)
    options: Options = replace(settled, **_NONE_OF)  # type: ignore[arg-type]
    problems = Problems(usage=rules.problems(options, places))
    if settled.image is not None:
        problems.warnings.append(f"{places['image']}: the nodes are examined outside of any container")
    if not problems.usage:
        check_cluster(options, places, environ, problems, dry_run=wish.dry_run)
        check_files(options, problems)
    problems.raise_all()
    submission = plan_examination(
        options=options,
        workspace=wish.workspace,
        run_id=RUN_ID if wish.dry_run else choose_run_id(environ),
        directory=Path.cwd(),
        environ=environ,
        doctor_options=wish.doctor_options,
        python=options.python or sys.executable,
    )
    return Ready(submission=submission, origins=places, warnings=tuple(problems.warnings))

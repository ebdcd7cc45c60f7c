"""Jobs that `--dependency` names and SLURM has forgotten or never had: it does not refuse them, and does not wait for
them either. prepare.py warns of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from primus.errors import ServiceError
from primus.launch.slurm.tools import call


def unknown_jobs(dependency: str, environ: Mapping[str, str]) -> list[str]:
    """The ids among those of a dependency that SLURM does not know."""
    return [job for job in re.findall(r":(\d+)", dependency) if not _is_known(job, environ)]


def _is_known(job: str, environ: Mapping[str, str]) -> bool:
    try:
        return bool(call("squeue", ["-h", "-t", "all", "-j", job, "-o", "%A"], environ).strip())
    except ServiceError as error:
        if "Invalid job id" in str(error):
            return False
        raise

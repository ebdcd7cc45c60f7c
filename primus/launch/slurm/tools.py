"""SLURM's command-line tools: run with a time limit, their refusals passed on together with what they mean."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from primus.errors import MissingError, ServiceError

TIMEOUT = 60.0
"""Seconds; sbatch itself gives up on a controller that does not answer after its MessageTimeout, 10 by default."""

_READINGS = (
    (
        r"Unable to contact slurm controller|Connection refused|Zero Bytes",
        "SLURM's controller does not answer; try again later",
    ),
    (
        r"Socket timed out",
        "SLURM's controller is overloaded; look with `squeue --me` whether the job is there before trying again",
    ),
    (r"[Ii]nvalid partition", "--partition: there is no such partition, or you may not use it"),
    (
        r"Invalid account",
        "--account: not one of yours, or not for this partition; `sacctmgr show assoc user=$USER` lists them",
    ),
    (r"Invalid qos", "--qos: not one of yours; `sacctmgr show assoc user=$USER format=qos` lists them"),
    (r"group not permitted|not permitted to use this partition", "--partition: your group may not use it"),
    (r"time limit is invalid|Requested time limit", "--time: longer than the partition allows"),
    (r"[Ii]nvalid feature", "--constraint: no node has it; `sinfo -o '%N %f'` lists what nodes have"),
    (
        r"[Ii]nvalid (?:gres|generic resource)|Invalid GRES",
        "--gres or --gpus-per-node: no node has it; `sinfo -o '%N %G'` lists what nodes have",
    ),
    (r"[Mm]emory (?:specification|required)", "--mem: more than a node has or the partition allows"),
    (r"[Ii]nvalid node name", "--nodelist or --exclude: a node that this cluster does not have"),
    (r"dependency", "--dependency: one of those jobs is not known any more"),
    (r"reservation", "--reservation: it does not exist, is over, or is not yours"),
    (
        r"QOS policy|AssocMax|QOSMax|job submit limit",
        "a limit of your account or quality of service; `sacctmgr show qos` lists the limits",
    ),
    (
        r"node configuration is not available|Node count specification|More processors requested|CPU count per node",
        "no set of nodes fulfils what is asked for together; compare with `sinfo -Nl`",
    ),
    (
        r"authentication|Munge|munge",
        "this machine can't prove to SLURM who you are: its munge daemon is down, or its clock is wrong",
    ),
    (r"unrecognized option|invalid option|Invalid --", "an option that this version of SLURM does not know"),
    (r"Unspecified error|Invalid mail|Invalid directive", "see the administrators of the cluster"),
)
"""What a refusal says, and what it means for whoever submitted. The first that matches counts."""


class NoAnswer(ServiceError):
    """A tool did not come back: whether it has done its work is not known."""


def call(program: str, arguments: Sequence[str], environ: Mapping[str, str], *, timeout: float = TIMEOUT) -> str:
    """What a tool prints. MissingError when it is not here, ServiceError when it refuses or does not come back."""
    path = find(program, environ)
    try:
        done = subprocess.run(
            [path, *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(
            f"{program} did not come back within {timeout:.0f} seconds; look with `squeue --me` what it has done"
        ) from None
    if done.returncode:
        raise ServiceError(refusal(program, done.stderr.decode(errors="replace")))
    return done.stdout.decode(errors="replace")


def find(program: str, environ: Mapping[str, str]) -> str:
    """The path of a tool; MissingError when this machine has none."""
    path = shutil.which(program, path=environ.get("PATH"))
    if path is None:
        raise MissingError(
            f"{program} is not on the PATH: run this where SLURM's commands are, on a login node of the cluster"
        )
    return path


def refusal(program: str, text: str) -> str:
    """What SLURM says, and what that means."""
    said = [re.sub(rf"^{program}: (?:error: )?", "", line) for line in text.splitlines() if line.strip()]
    meaning = next((reading for pattern, reading in _READINGS if re.search(pattern, text)), None)
    lines = [f"SLURM refused: {said[0] if said else f'{program} failed and says nothing'}", *said[1:]]
    return "\n".join(lines + ([f"This means: {meaning}"] if meaning else []))

"""The job script and the environment file: text from a template and values, every one of them quoted. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TEMPLATE = Path(__file__).with_name("job.sh.in")
_PLACE = re.compile(r"@([A-Z_]+)@")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_SESSION = re.compile(
    r"SLURM_.*|SBATCH_.*|SALLOC_.*|SRUN_.*|SINFO_.*|SQUEUE_.*|PMI_.*|PMIX_.*|SSH_.*|XDG_.*|DBUS_.*|TMUX.*|STY|WINDOW.*"
    r"|DISPLAY|XAUTHORITY|TERM.*|COLUMNS|LINES|COLORTERM|LS_COLORS|PS[1-4]|PROMPT_COMMAND|SHLVL|_|PWD|OLDPWD|HOSTNAME"
    r"|HOST|TMPDIR|TMP|TEMP|MAIL|KRB5CCNAME|BASHOPTS|SHELLOPTS|BASH_.*|EUID|UID|PPID|IFS|BASH|LINENO|RANDOM|SECONDS"
)
"""Variables of the login session, of its shell or of a job that submits another one: the job has its own."""

SETTLED = frozenset(
    {
        *("EXP", "BACKEND", "NNODES", "NODE_RANK", "GPUS_PER_NODE", "MASTER_ADDR", "MASTER_PORT", "DOCKER_IMAGE"),
        *("LOG_DIR", "PRIMUS_HIPBLASLT_TUNING_STAGE", "PRIMUS_RUN_ID", "PRIMUS_ATTEMPT", "PRIMUS_SLURM_CONFIG"),
    }
)
"""Variables of options that the submission has settled: the job gets them as options, or must not see them."""

_CLIENT = re.compile(
    r"SLURM_(?:CONF|CLUSTERS|TIME_FORMAT|JWT)|PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|KRB5CCNAME|LD_LIBRARY_PATH"
    r"|SBATCH_(?!EXPORT|GET_USER_ENV|ARRAY_INX|WAIT|TEST_ONLY|OPEN_MODE|OUTPUT).*"
)
"""Variables that sbatch itself reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What differs from one job script to another."""

    run: Path
    """Run directory; of an array, of its first task."""

    array: bool = False
    """Whether the run directory depends on the task of an array."""

    directory: Path
    """Where the training works."""

    code: Path | None = None
    """Copied working tree that goes before what is installed."""

    train: Sequence[str]
    """Command line of `primus train` or `primus doctor`, without what depends on the node and the attempt."""

    examines: bool = False
    """Whether it is `primus doctor`."""

    nproc_per_node: int | None = None
    master_port: int | None = None
    max_requeues: int = 0
    exclude_failed_nodes: bool = False
    chain: int = 0
    lost_timeout: int = 0
    """Seconds without a sign of life after which a node counts as lost; 0 never."""


def render(script: Script) -> str:
    """The job script."""
    values = {
        "RUN": _run(script),
        "DIRECTORY": shlex.quote(str(script.directory)),
        "CODE": _optional(script.code),
        "PROCESSES": _optional(script.nproc_per_node),
        "MASTER_PORT": _optional(script.master_port),
        "MAX_REQUEUES": str(script.max_requeues),
        "EXCLUDE": " --exclude" if script.exclude_failed_nodes else "",
        "CHAIN": str(script.chain),
        "SILENCE": str(script.lost_timeout),
        "EXAMINES": "yes" if script.examines else "",
        "TRAIN": " ".join(shlex.quote(word) for word in script.train),
    }
    return _PLACE.sub(lambda match: values[match[1]], _TEMPLATE.read_text(encoding="utf-8"))


def environment_file(environ: Mapping[str, str]) -> str:
    """What the job's shell reads to have the environment of the one that submitted it."""
    return "".join(f"export {name}={shlex.quote(environ[name])}\n" for name in passed_names(environ))


def passed_names(environ: Mapping[str, str]) -> list[str]:
    """The variables that the job gets from the one who submits it."""
    return sorted(name for name in environ if _is_passed(name))


def client_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of sbatch, which SLURM keeps with the job for administrators to see: only what sbatch needs."""
    return {name: value for name, value in environ.items() if _CLIENT.fullmatch(name)}


def _is_passed(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name not in SETTLED and not _SESSION.fullmatch(name)


def _run(script: Script) -> str:
    if not script.array:
        return shlex.quote(str(script.run))
    links = shlex.quote(str(script.run / "slurm" / "runs"))
    return f'$(readlink -f -- {links}/"$SLURM_ARRAY_TASK_ID")'


def _optional(value: object | None) -> str:
    return "" if value is None else shlex.quote(str(value))

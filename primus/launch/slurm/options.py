"""What `primus slurm submit` was asked for, one table of how each option is checked and what sbatch calls it, and the
command line of sbatch made from it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from primus.errors import did_you_mean
from primus.launch.slurm import values

Origins = Mapping[str, str]
"""Where each option is from, by the name of its field: `--time`, `$SBATCH_TIMELIMIT`, `slurm.toml:3`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """One submission, as far as SLURM and the job script are concerned. None or empty: not asked for."""

    nnodes: int = 1
    nproc_per_node: int | None = None
    """Worker processes per node; without it as many as SLURM gives GPUs."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    exclusive: bool = False
    """No other job on the nodes."""

    nodelist: str | None = None
    exclude: str | None = None
    constraint: str | None = None
    gres: str | None = None
    gpus_per_node: str | None = None
    cpus_per_task: int | None = None
    """CPUs of each node, whose one task starts the workers."""

    mem: str | None = None
    """Memory of each node."""

    reservation: str | None = None
    dependency: str | None = None
    comment: str | None = None
    mail: str | None = None
    """Address that is told of the job's end, failure and requeueing."""

    job_name: str | None = None
    sbatch_args: tuple[str, ...] = ()
    """Further options of sbatch, as they are."""

    setup: str | None = None
    """File with shell lines to run before the training."""

    python: str | None = None
    """Interpreter on the nodes; None is the one that submits."""

    image: str | None = None
    """Container to train in."""

    master_port: int | None = None
    """None makes one from the job's id."""

    log_dir: str | None = None
    """Folder for the job's log; None is the run directory."""

    max_requeues: int = 0
    """How often SLURM may start the job again after a node failure or for another job's sake."""

    exclude_failed_nodes: bool = False
    """Leave a node out from the next attempt on, once one was lost on it."""

    chain: int = 0
    """Further jobs that go on when the time is up, at most."""

    save_before: int | None = None
    """Seconds before the time limit at which training is asked to save and end."""

    lost_timeout: int = 0
    """Seconds without a sign of life after which a node counts as lost; 0 never."""

    @property
    def gpus(self) -> int | None:
        """GPUs of each node that are asked for; None when nothing is said about GPUs."""
        if self.gpus_per_node is not None:
            return values.gpus_per_node(self.gpus_per_node)
        return values.gpus(self.gres) or None if self.gres is not None else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How one option is checked and passed on."""

    kind: type
    check: Callable[[str], str | None] | None = None
    """What is wrong with a text, or None."""

    sbatch: str | None = None
    """Its name for sbatch; None when it is not sbatch's."""

    least: int = 1
    """The smallest number that it takes."""


RULES: Mapping[str, Rule] = {
    "nproc_per_node": Rule(kind=int),
    "partition": Rule(kind=str, check=values.is_word, sbatch="--partition"),
    "account": Rule(kind=str, check=values.is_word, sbatch="--account"),
    "qos": Rule(kind=str, check=values.is_word, sbatch="--qos"),
    "time": Rule(kind=str, check=values.is_time, sbatch="--time"),
    "exclusive": Rule(kind=bool, sbatch="--exclusive"),
    "nodelist": Rule(kind=str, check=values.is_word, sbatch="--nodelist"),
    "exclude": Rule(kind=str, check=values.is_word, sbatch="--exclude"),
    "constraint": Rule(kind=str, check=values.is_text, sbatch="--constraint"),
    "gres": Rule(kind=str, check=values.is_gres, sbatch="--gres"),
    "gpus_per_node": Rule(kind=str, check=values.is_gpus, sbatch="--gpus-per-node"),
    "cpus_per_task": Rule(kind=int, sbatch="--cpus-per-task"),
    "mem": Rule(kind=str, check=values.is_memory, sbatch="--mem"),
    "reservation": Rule(kind=str, check=values.is_word, sbatch="--reservation"),
    "dependency": Rule(kind=str, check=values.is_dependency, sbatch="--dependency"),
    "comment": Rule(kind=str, check=values.is_text, sbatch="--comment"),
    "mail": Rule(kind=str, check=values.is_word, sbatch="--mail-user"),
    "job_name": Rule(kind=str, check=values.is_text, sbatch="--job-name"),
    "sbatch_args": Rule(kind=list),
    "setup": Rule(kind=str, check=values.is_text),
    "python": Rule(kind=str, check=values.is_text),
    "image": Rule(kind=str, check=values.is_word),
    "master_port": Rule(kind=int),
    "log_dir": Rule(kind=str, check=values.is_text),
    "max_requeues": Rule(kind=int, least=0),
    "exclude_failed_nodes": Rule(kind=bool),
    "chain": Rule(kind=int, least=0),
    "save_before": Rule(kind=int),
    "lost_timeout": Rule(kind=int, least=0),
}
"""By the name of the field, in the order of the command line."""

_MAIL_EVENTS = "END,FAIL,REQUEUE,INVALID_DEPEND"

_OWN = {
    **dict.fromkeys(("--nodes", "-N"), "--nnodes"),
    **dict.fromkeys(("--array", "-a"), "--array, which takes KEY=V1,V2"),
    **dict.fromkeys(("--job-name", "-J"), "--job-name"),
    **dict.fromkeys(("--output", "-o", "--error", "-e"), "LOG_DIR"),
    **dict.fromkeys(("--wait", "-W"), "--wait"),
    **dict.fromkeys(("--requeue", "--no-requeue"), "--max-requeues"),
    "--signal": "--save-before",
}
"""Options of sbatch that are ours in another form, with that form."""

_FIXED = {
    **dict.fromkeys(("--ntasks", "-n", "--ntasks-per-node"), "each node runs one task, which starts the workers"),
    **dict.fromkeys(("--chdir", "-D"), "the job works where it is submitted"),
    **dict.fromkeys(("--export", "--export-file", "--get-user-env"), "the environment goes through a file of the run"),
    **dict.fromkeys(("--wrap", "--parsable", "--test-only", "--help", "-h"), "the job runs Primus's own script"),
    **dict.fromkeys(("--open-mode",), "the job's log goes on where it was"),
}
"""Options of sbatch that would break the job, with the reason."""


def problems(options: Options, origins: Origins) -> list[str]:
    """Everything that is wrong with the options as such, each with the place that it is from."""
    found = [problem for name in RULES for problem in _problems_of(name, getattr(options, name), origins)]
    if options.gpus_per_node is not None and options.gres is not None and values.gpus(options.gres):
        found.append(f"{_place('gres', origins)} and {_place('gpus_per_node', origins)} both ask for GPUs: give one")
    asked = options.gpus
    if options.nproc_per_node is not None and asked and options.nproc_per_node > asked:
        found.append(
            f"{_place('nproc_per_node', origins)}: {options.nproc_per_node} processes on {asked} GPUs "
            f"({_place('gpus_per_node' if options.gpus_per_node else 'gres', origins)}); a GPU takes one process"
        )
    return found


def sbatch_arguments(options: Options, *, name: str) -> list[str]:
    """The options of sbatch and salloc, without those of the script's own files. `name` is the job's unless one was
    asked for."""
    arguments = [f"--nodes={options.nnodes}", "--ntasks-per-node=1"]
    for field, rule in RULES.items():
        value = getattr(options, field)
        if field == "job_name":
            value = value or name
        if rule.sbatch is None or value is None or value is False:
            continue
        arguments.append(rule.sbatch if value is True else f"{rule.sbatch}={value}")
    if options.mail is not None:
        arguments.append(f"--mail-type={_MAIL_EVENTS}")
    return [*arguments, *options.sbatch_args]


def batch_arguments(options: Options) -> list[str]:
    """The options that only sbatch has: whether the job may start again, and the signal before its time is up."""
    found = ["--requeue" if options.max_requeues else "--no-requeue"]
    if options.save_before is not None:
        limit = None if options.time is None else values.minutes(options.time)
        seconds = options.save_before
        if limit is not None and seconds >= 60 * limit:
            seconds = max(1, int(60 * limit / 4))
        found.append(f"--signal=B:USR1@{seconds}")
    return found


def _problems_of(name: str, value: Any, origins: Origins) -> list[str]:
    rule, place = RULES[name], _place(name, origins)
    if name == "sbatch_args":
        return [f"{place} {argument}: {reason}" for argument in value if (reason := _refused(argument))]
    if value is None or isinstance(value, bool):
        return []
    if isinstance(value, int):
        return [] if value >= rule.least else [f"{place} {value}: expected a number from {rule.least} on"]
    if "\0" in value:
        return [f"{place}: has a NUL character in it"]
    reason = rule.check(value) if rule.check else None
    return [f"{place} {value!r}: {reason}"] if reason else []


def _refused(argument: str) -> str | None:
    option = argument.partition("=")[0] if argument.startswith("--") else argument[:2]
    if not argument.startswith("-") or option in ("-", "--"):
        return "expected one option of sbatch in one word, for instance --switches=1"
    if option in _OWN:
        return f"use {_OWN[option]}"
    if option in _FIXED:
        return _FIXED[option]
    ours = {rule.sbatch: field for field, rule in RULES.items() if rule.sbatch}
    return f"use --{ours[option].replace('_', '-')}" if option in ours else None


def _place(name: str, origins: Origins) -> str:
    return origins.get(name) or f"--{name.replace('_', '-')}"


def unknown(name: str) -> str:
    """What to say of an option in a file that does not exist."""
    return f"{name}: unknown option.{did_you_mean(name, RULES)} Known: {', '.join(RULES)}"

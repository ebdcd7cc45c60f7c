"""What SLURM says of jobs, from the tables of squeue and sacct: the same on every version from 22.05 on. status.py puts
it together with what the job itself has written."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from primus.errors import MissingError, ServiceError
from primus.launch.slurm.tools import call

COLUMNS = ("%i", "%T", "%P", "%D", "%r", "%S", "%l", "%M", "%N", "%o")
"""Job, state, partition, nodes, reason, start, time limit, time used, their names, command. Only the last is free text;
it may hold anything, a new line too."""

FIELDS = ("JobID", "State", "ExitCode", "Start", "End", "Partition", "NNodes", "Timelimit", "Elapsed", "NodeList")
"""Of sacct."""

_ROW = re.compile(r"\d+(?:_(?:\d+|\[[^|]*\]))?(?:\+\d+)?\|[A-Z_]+\|[^|]*\|\d+\|(?:[^|]*\|){5}")
"""How a row begins; what does not begin so goes on with the command of the row before."""

_NOTHING = frozenset(
    {"", "N/A", "n/a", "Unknown", "None", "None assigned", "(null)", "NOT_SET", "Partition_Limit", "INVALID"}
)
"""How SLURM says that there is no value."""

_FORGOTTEN = ("Invalid job id", "does not know")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One job, or one task of an array. Empty text: SLURM does not say."""

    job: str
    word: str
    """Its state in SLURM's words."""

    source: Literal["squeue", "sacct"]
    partition: str = ""
    count: int = 1
    """Nodes."""

    nodes: str = ""
    reason: str = ""
    start: str = ""
    """When it began, or is expected to: local time."""

    end: str = ""
    limit: str = ""
    used: str = ""
    command: str = ""
    exit_code: int | None = None
    """From sacct; 128+N after signal N."""

    @property
    def order(self) -> tuple[int, int]:
        """To sort by."""
        return order(self.job)


def order(job: str) -> tuple[int, int]:
    """To sort jobs by: the id, and the index of an array's task."""
    first, _, task = job.partition("_")
    return int(first.partition("+")[0]), int(task) if task.isdigit() else -1


def ask(job: str, environ: Mapping[str, str], *, cluster: str | None = None) -> list[Row]:
    """What SLURM knows of a job, all tasks of an array: from the queue, else from the accounts; empty when it knows
    nothing of it. ServiceError when it does not answer."""
    return queued(["-j", job, *_cluster(cluster)], environ) or recorded(job, environ, cluster=cluster)


def queued(select: Sequence[str], environ: Mapping[str, str]) -> list[Row]:
    """Rows of squeue; empty for a job that it does not know, or not any more."""
    arguments = ["--noheader", "--array", "--states=all", *select, f"--format={'|'.join(COLUMNS)}"]
    try:
        answer = call("squeue", arguments, _plain(environ))
    except ServiceError as error:
        if is_forgotten(error):
            return []
        raise
    return parse_queue(answer)


def of_user(environ: Mapping[str, str]) -> list[Row]:
    """All jobs of this user that the queue knows."""
    return queued([f"--user={getpass.getuser()}"], environ)


def recorded(job: str, environ: Mapping[str, str], *, cluster: str | None = None) -> list[Row]:
    """The newest row of each task in the accounts; empty where SLURM keeps none."""
    arguments = ["--noheader", "--parsable2", "--allocations", "--duplicates", f"--jobs={job}", *_cluster(cluster)]
    try:
        answer = call("sacct", [*arguments, f"--format={','.join(FIELDS)}"], _plain(environ))
    except (ServiceError, MissingError):  # no slurmdbd, or it does not answer
        return []
    return list({row.job: row for row in parse_accounts(answer)}.values())


def parse_queue(text: str) -> list[Row]:
    """What squeue prints with COLUMNS."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if _ROW.match(line):
            rows.append([line])
        elif rows:
            rows[-1].append(line)
    return sorted((_queue_row("\n".join(lines)) for lines in rows), key=lambda row: row.order)


def parse_accounts(text: str) -> list[Row]:
    """What sacct prints with FIELDS, the oldest attempt of a job first."""
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == len(FIELDS) - 1]
    found = []
    for job, word, code, start, end, partition, count, limit, used, nodes in rows:
        found.append(
            Row(
                job=job,
                word=word.split()[0].rstrip("+") if word.strip() else "",
                source="sacct",
                partition=_value(partition),
                count=int(count) if count.isdigit() else 1,
                nodes=_value(nodes),
                start=_value(start),
                end=_value(end),
                limit=_value(limit),
                used=_value(used),
                exit_code=_exit_code(code),
            )
        )
    return found


def is_forgotten(error: ServiceError) -> bool:
    """Whether SLURM says that there is no such job, rather than nothing."""
    return any(text in str(error) for text in _FORGOTTEN)


def _queue_row(text: str) -> Row:
    job, word, partition, count, reason, start, limit, used, nodes, command = text.split("|", len(COLUMNS) - 1)
    return Row(
        job=job,
        word=word,
        source="squeue",
        partition=_value(partition),
        count=int(count),
        reason=_value(reason),
        start=_value(start),
        limit=_value(limit),
        used=_value(used),
        nodes=_value(nodes),
        command=_value(command),
    )


def _value(text: str) -> str:
    return "" if text.strip() in _NOTHING else text


def _exit_code(text: str) -> int | None:
    """`7:0` is status 7, `0:9` died of signal 9."""
    status, _, number = text.partition(":")
    if not status.isdigit():
        return None
    return 128 + int(number) if number.isdigit() and int(number) else int(status)


def _cluster(name: str | None) -> list[str]:
    return [] if name is None else [f"--clusters={name}"]


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    """Without the user's own choices of what these tools print."""
    kept = {name: value for name, value in environ.items() if not re.match("SQUEUE_|SACCT_", name)}
    return kept | {"SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}

"""What a cluster has, as sinfo prints it: partitions, and in each the nodes of one kind. preflight.py holds a
submission against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from primus.launch.slurm import values
from primus.launch.slurm.tools import call

FORMAT = "%P|%a|%l|%D|%T|%c|%m|%G|%f"
"""Partition, whether it is up, its time limit, and of each kind of node: how many, state, CPUs, megabytes, GPUs and
other resources, features. All versions of SLURM print these alike."""

_UNUSABLE = ("down", "drain", "fail", "maint", "unk", "inval", "power_down", "future", "reboot")


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """Nodes of one partition that are alike."""

    count: int
    state: str
    cpus: int
    megabytes: float
    gres: str
    features: frozenset[str]

    @property
    def gpus(self) -> int:
        return values.gpus(self.gres)

    @property
    def is_usable(self) -> bool:
        """Whether a job could start there now or later without an administrator."""
        return not any(word in self.state.lower() for word in _UNUSABLE) and not self.state.endswith("*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """One partition."""

    name: str
    is_default: bool
    availability: str
    """`up`, or why no job starts: `down`, `drain`, `inact`."""

    time_limit: str
    """As SLURM writes it, `infinite` for none."""

    nodes: tuple[Nodes, ...]

    @property
    def minutes(self) -> float | None:
        return values.minutes(self.time_limit)


def read_partitions(environ: Mapping[str, str]) -> list[Partition]:
    """Every partition that the user may see."""
    return parse(call("sinfo", ["--noheader", "--exact", f"--format={FORMAT}"], environ))


def parse(text: str) -> list[Partition]:
    """What sinfo has printed with FORMAT."""
    rows = [[part.strip() for part in line.split("|")] for line in text.splitlines() if line.count("|") == 8]
    names = dict.fromkeys(row[0] for row in rows)
    return [_partition(name, [row for row in rows if row[0] == name]) for name in names]


def _partition(name: str, rows: list[list[str]]) -> Partition:
    return Partition(
        name=name.removesuffix("*"),
        is_default=name.endswith("*"),
        availability=rows[0][1],
        time_limit=rows[0][2],
        nodes=tuple(_nodes(row) for row in rows),
    )


def _nodes(row: Iterable[str]) -> Nodes:
    _, _, _, count, state, cpus, megabytes, gres, features = row
    return Nodes(
        count=int(count),
        state=state,
        cpus=int(cpus.rstrip("+") or 0),
        megabytes=float(megabytes.rstrip("+") or 0),
        gres="" if gres == "(null)" else gres,
        features=frozenset(() if features == "(null)" else features.split(",")),
    )

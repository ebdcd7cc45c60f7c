"""What SLURM would refuse, or take and never start, found before anything is submitted. Pure; the caller reads the
partitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from primus.errors import did_you_mean
from primus.launch.slurm import values
from primus.launch.slurm.options import Options, Origins
from primus.launch.slurm.partitions import Nodes, Partition


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What the checks have found."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Need:
    """One thing that each node must have."""

    origin: str
    wanted: str
    """For people: `8 GPUs`."""

    fits: Callable[[Nodes], bool]
    has: Callable[[Nodes], str]
    """What nodes have instead, for people."""


def check(options: Options, origins: Origins, partitions: Sequence[Partition]) -> Findings:
    """All problems of a submission on this cluster."""
    found = Findings()
    chosen = _chosen(options, origins, partitions, found)
    if not chosen:
        return found
    # SLURM takes any of several: what is wrong with every one of them is wrong.
    each = [_check_partition(options, origins, partition) for partition in chosen]
    if all(findings.problems for findings in each):
        for findings in each:
            found.problems.extend(findings.problems)
    else:
        for findings in each:
            found.warnings.extend([*findings.problems, *findings.warnings])
    return found


def _chosen(options: Options, origins: Origins, partitions: Sequence[Partition], found: Findings) -> list[Partition]:
    """The partitions that the job may run in; none where that is a problem already."""
    names = [partition.name for partition in partitions]
    listed = ", ".join(names) or "none"
    if options.partition is None:
        default = [partition for partition in partitions if partition.is_default]
        if not default:
            found.problems.append(f"--partition: this cluster has no default one; choose from {listed}")
        return default
    chosen = []
    for name in options.partition.split(","):
        if name in names:
            chosen.append(partitions[names.index(name)])
        else:
            near = did_you_mean(name, names)
            found.problems.append(
                f"{_origin('partition', origins)}: there is no partition {name}.{near} Partitions: {listed}"
            )
    return [] if found.problems else chosen


def _check_partition(options: Options, origins: Origins, partition: Partition) -> Findings:
    found = Findings()
    if partition.availability != "up":
        why = _CLOSED.get(partition.availability, partition.availability)
        place = _origin("partition", origins)
        found.problems.append(f"{place}: partition {partition.name} is {why}; the job would never start")
    _check_time(options, origins, partition, found)
    _check_nodes(options, origins, partition, found)
    return found


_CLOSED = {"down": "down", "drain": "closed for new jobs (draining)", "inact": "inactive"}


def _check_time(options: Options, origins: Origins, partition: Partition, found: Findings) -> None:
    if options.time is None or partition.minutes is None:
        return
    asked = values.minutes(options.time)
    if asked is None or asked > partition.minutes:
        place, most = _origin("time", origins), partition.time_limit
        found.problems.append(f"{place} {options.time}: partition {partition.name} allows at most {most}")


def _check_nodes(options: Options, origins: Origins, partition: Partition, found: Findings) -> None:
    """Whether there are enough nodes that have everything, and which thing is too much when there are not."""
    total = _count(partition.nodes)
    if options.nnodes > total:
        found.problems.append(
            f"--nnodes {options.nnodes}: partition {partition.name} has {total} node{'s' * (total != 1)}"
        )
        return
    needs = _needs(options, origins)
    short = [need for need in needs if _count(filter(need.fits, partition.nodes)) < options.nnodes]
    found.problems.extend(_too_much(need, partition) for need in short)
    fitting = [nodes for nodes in partition.nodes if all(need.fits(nodes) for need in needs)]
    if short:
        return
    if _count(fitting) < options.nnodes:
        wanted = " and ".join(need.wanted for need in needs)
        found.problems.append(
            f"--nnodes {options.nnodes}: partition {partition.name} has {_count(fitting)} with {wanted}"
        )
        return
    usable = _count(nodes for nodes in fitting if nodes.is_usable)
    if usable < options.nnodes:
        states = ", ".join(sorted({nodes.state for nodes in fitting if not nodes.is_usable}))
        found.warnings.append(
            f"of the {_count(fitting)} nodes of partition {partition.name} that fit, {usable} can be used now (others: "
            f"{states}); the job waits until there are {options.nnodes}"
        )
    _recommend_gpus(options, fitting, partition, found)


def _too_much(need: _Need, partition: Partition) -> str:
    had = ", ".join(dict.fromkeys(need.has(nodes) for nodes in partition.nodes))
    fitting = _count(filter(need.fits, partition.nodes))
    enough = f"only {fitting} node{'s' * (fitting > 1)}" if fitting else "no node"
    verb = "have" if fitting > 1 else "has"
    return f"{need.origin}: {enough} of partition {partition.name} {verb} {need.wanted} (its nodes have {had})"


def _needs(options: Options, origins: Origins) -> list[_Need]:
    needs = []
    if options.gpus:
        origin = _origin("gpus_per_node" if options.gpus_per_node is not None else "gres", origins)
        wanted = options.gpus
        kind = _gpu_type(options)
        needs.append(
            _Need(
                origin=origin,
                wanted=f"{wanted} GPU{'s' * (wanted > 1)}{f' of type {kind}' if kind else ''}",
                fits=lambda nodes: nodes.gpus >= wanted and (kind is None or f":{kind}:" in nodes.gres),
                has=lambda nodes: nodes.gres or "no GPU",
            )
        )
    cpus = options.cpus_per_task
    if cpus is not None:
        needs.append(
            _Need(
                origin=f"{_origin('cpus_per_task', origins)} {cpus}",
                wanted=f"{cpus} CPUs",
                fits=lambda nodes: nodes.cpus >= cpus,
                has=lambda nodes: str(nodes.cpus),
            )
        )
    if options.mem is not None:
        memory = values.megabytes(options.mem)
        needs.append(
            _Need(
                origin=_origin("mem", origins),
                wanted=options.mem,
                fits=lambda nodes: nodes.megabytes >= memory,
                has=lambda nodes: f"{nodes.megabytes:.0f}M",
            )
        )
    feature = options.constraint
    if feature is not None and re.fullmatch(r"[\w.-]+", feature):  # others are expressions, which SLURM reads
        needs.append(
            _Need(
                origin=_origin("constraint", origins),
                wanted=f"the feature {feature}",
                fits=lambda nodes: feature in nodes.features,
                has=lambda nodes: ", ".join(sorted(nodes.features)) or "none",
            )
        )
    return needs


def _gpu_type(options: Options) -> str | None:
    """The one type of GPU that is asked for, or None."""
    text = options.gpus_per_node if options.gpus_per_node is not None else options.gres or ""
    types = re.findall(r"(?:^|,)(?:gpu:)?([A-Za-z_][\w.-]*):\d+", text)
    return types[0] if len(types) == 1 and types[0] != "gpu" else None


def _recommend_gpus(options: Options, nodes: Sequence[Nodes], partition: Partition, found: Findings) -> None:
    most = max((each.gpus for each in nodes), default=0)
    if most and options.gpus is None and not any("gpu" in argument for argument in options.sbatch_args):
        found.warnings.append(
            f"partition {partition.name} has nodes with {most} GPUs and the job asks for none; --gpus-per-node {most} "
            "asks for them, --gpus-per-node 0 says that none are wanted"
        )


def _count(nodes: Iterable[Nodes]) -> int:
    return sum(each.count for each in nodes)


def _origin(name: str, origins: Origins) -> str:
    return origins.get(name) or f"--{name.replace('_', '-')}"

"""What differs between nodes and devices that should be alike: versions and settings by majority, speeds by median and
spread. examine.py asks it; outliers.py has the arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from primus.doctor.finding import Finding
from primus.doctor.outliers import differ, high, low, spread_of

Node = Mapping[str, Any]
"""`node`, `host` and `facts` of one node."""

Result = Mapping[str, Any]
"""What one worker left (progress.py)."""

CLOCKS_APART = 1.0
"""Seconds; the order of events on two nodes is told from their clocks."""

_ALIKE: tuple[tuple[str, ...], ...] = (
    ("system", "kernel"),
    ("system", "drivers"),
    ("system", "processors"),
    ("system", "transparent_hugepages"),
    ("system", "numa_balancing"),
    ("system", "iommu"),
    ("software", "python"),
    ("software", "packages"),
    ("software", "libraries"),
    ("torch", "version"),
    ("torch", "nccl"),
    ("gpus", "count"),
    ("gpus", "model"),
    ("limits", "memlock"),
)
"""Facts that the nodes of a job have in common."""

_SPEEDS = (("write_mb", "MB/s written"), ("read_mb", "MB/s read"))


def node_findings(nodes: Sequence[Node]) -> Iterator[Finding]:
    """How nodes differ from the others."""
    for path in _ALIKE:
        yield from _odd_ones(nodes, path)
    yield from _slow_folders(nodes)
    imports = {name_of(node): float(s) for node in nodes if (s := _at(node["facts"], ("torch", "seconds")))}
    for where, seconds in high(imports).items():
        median = spread_of(imports).median
        yield Finding(
            severity="warning",
            name="slow-import",
            where=where,
            evidence=f"`import torch` takes {seconds:.1f} s, the median is {median:.1f} s",
            remedy="Python's packages come from a slow or loaded file system there",
        )
    for node in nodes:
        yield from _clock(node)


def device_findings(results: Sequence[Result]) -> Iterator[Finding]:
    """How devices and connections differ from the others."""
    for name, values in values_by_name(results).items():
        slow = low({where: value for where, (value, _, _) in values.items()})
        if slow:
            spread = spread_of({where: value for where, (value, _, _) in values.items()})
            for where, value in slow.items():
                unit = values[where][2]
                yield Finding(
                    severity="warning",
                    name="slow",
                    where=where,
                    evidence=f"{name}: {value:.4g} {unit}; median of {spread.count} is {spread.median:.4g}, median "
                    f"distance {spread.mad:.2g}",
                    remedy=_REMEDIES["pairs" if name.startswith("pairs") else "gemm" if "gemm" in name else "other"],
                )
        apart = differ({where: (value, spread) for where, (value, spread, _) in values.items()})
        if apart:
            (least, most), unit = apart, values[apart[0]][2]
            yield Finding(
                severity="note",
                name="differs",
                where=least,
                evidence=f"{name}: {values[least][0]:.4g} {unit}, where {most} has {values[most][0]:.4g}",
                remedy="with fewer than four values nobody can tell which one is odd: repeat, or compare more nodes",
            )


_REMEDIES = {
    "gemm": "see clocks, temperature and power of that device under load; take it out when a reset does not help",
    "pairs": "see the link between the two: cable, port, PCIe and xGMI or NVLink state",
    "other": "see what else runs there, its clocks and its links",
}


def values_by_name(results: Sequence[Result]) -> dict[str, dict[str, tuple[float, float, str]]]:
    """Of each measurement, value, spread and unit by whom it is of: ranks, nodes (where the ranks of a node work
    together) or pairs of ranks. Where all ranks work together there is nothing to compare."""
    found: dict[str, dict[str, tuple[float, float, str]]] = {}
    shared: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    for result in results:
        for each in result["values"]:
            entry = (each["value"], each["spread"], each["unit"])
            rank, peer, name = result["rank"], each.get("peer"), each["name"]
            if peer is not None:
                a, b = sorted((rank, peer))
                known = found.setdefault(name, {}).get(f"ranks {a} and {b}", entry)
                found[name][f"ranks {a} and {b}"] = min(known, entry)
            elif name.endswith(" node"):
                shared.setdefault((name, name_of(result)), []).append(entry)
            elif not name.endswith(" all"):
                found.setdefault(name, {})[f"rank {rank} on {name_of(result)}"] = entry
    for (name, node), entries in shared.items():
        found.setdefault(name, {})[node] = sorted(entries)[len(entries) // 2]
    return found


def name_of(node: Mapping[str, Any]) -> str:
    return f"node {node['node']} ({node['host']})"


def _odd_ones(nodes: Sequence[Node], path: tuple[str, ...]) -> Iterator[Finding]:
    values = {name_of(node): _at(node["facts"], path) for node in nodes}
    counts = Counter(repr(value) for value in values.values() if value is not None)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    common = next(value for value in values.values() if repr(value) == usual)
    for where, value in values.items():
        if value is not None and repr(value) != usual:
            mine, others = _difference(value, common)
            yield Finding(
                severity="warning",
                name="unlike",
                where=where,
                evidence=f"{' '.join(path)}: {mine}, where {counts[usual]} of {len(nodes)} nodes have {others}",
                remedy="give all nodes of a job the same software and settings",
            )


def _difference(value: Any, common: Any) -> tuple[Any, Any]:
    """Of two dictionaries, what differs in them."""
    if not (isinstance(value, dict) and isinstance(common, dict)):
        return value, common
    names = [name for name in sorted(value.keys() | common.keys()) if value.get(name) != common.get(name)]
    first, second = (", ".join(f"{name} {each.get(name, 'missing')}" for name in names) for each in (value, common))
    return first, second


def _slow_folders(nodes: Sequence[Node]) -> Iterator[Finding]:
    for name, words in _SPEEDS:
        by_use: dict[str, dict[str, float]] = {}
        for node in nodes:
            for folder in node["facts"].get("folders", []):
                if name in folder:
                    by_use.setdefault(folder["use"], {})[name_of(node)] = folder[name]
        for use, speeds in by_use.items():
            for where, speed in low(speeds).items():
                yield Finding(
                    severity="warning",
                    name="slow-folder",
                    where=where,
                    evidence=f"{use} folder: {speed:.0f} {words}, the median is {spread_of(speeds).median:.0f}",
                    remedy="see the mount and the disk on that node, and what else uses them",
                )


def _clock(node: Node) -> Iterator[Finding]:
    clock = node.get("clock")
    if clock and abs(clock["seconds"]) > CLOCKS_APART + clock["within"]:
        side = "ahead of" if clock["seconds"] > 0 else "behind"
        yield Finding(
            severity="warning",
            name="clock",
            where=name_of(node),
            evidence=f"its clock is {abs(clock['seconds']):.2f} s {side} node 0's (± {clock['within']:.3f} s)",
            remedy="let the nodes' clocks be set by NTP (chrony)",
        )


def _at(facts: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = facts
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value

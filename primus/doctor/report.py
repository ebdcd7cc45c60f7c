"""An examination as text for the terminal: findings first, then what was measured. `primus doctor` prints it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from primus.table import table

_SIGNS = {"error": "ERROR", "warning": "WARNING", "note": "note"}

VERDICTS = {
    None: "Nothing to find fault with.",
    "note": "Nothing to find fault with; the notes are for your information.",
    "warning": "No error, but there are warnings: training may not go as well here as it could.",
    "error": "Something here is broken.",
}
"""By the worst finding."""


def text(answer: Mapping[str, Any]) -> str:
    """The whole report."""
    parts = [_nodes(answer["nodes"]), _measured(answer), *(f"Left out: {each}" for each in answer["left_out"])]
    parts += [_finding(finding) for finding in answer["findings"]]
    seconds = answer["seconds"].get("total", 0)
    parts.append(f"{VERDICTS[answer['severity']]} ({seconds:.0f} s, {answer['mode']}; {answer['run_directory']})")
    return "\n\n".join(part for part in parts if part)


def node_rows(nodes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Each node with what is most worth knowing of it."""
    for node in nodes:
        facts = node["facts"]
        system, memory, torch = facts.get("system", {}), facts.get("memory", {}), facts.get("torch", {})
        gpus = facts.get("gpus", {})
        yield (
            str(node["node"]),
            node["host"],
            str(system.get("kernel", "")),
            f"{system.get('processors', '')} / {len(system.get('numa', {})) or 1}",
            f"{memory.get('available_gib', 0):.0f}/{memory.get('total_gib', 0):.0f}",
            f"{gpus['count']} {gpus['model'] or gpus['kind']}" if gpus.get("count") else "none",
            f"{torch['version']} ({torch['seconds']:.1f} s)" if "version" in torch else "none",
            " ".join(f"{name} {version}" for name, version in system.get("drivers", {}).items()),
        )


NODE_HEADER = ("node", "host", "kernel", "cores/NUMA", "free/all GiB", "GPUs", "torch (import)", "drivers")


def network_rows(nodes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """What each node would reach the others through."""
    for node in nodes:
        network = node["facts"].get("network", {})
        chosen = network.get("chosen", {})
        used = [each for each in network.get("interfaces", []) if each["name"] == chosen.get("interface")]
        about = f"{used[0]['state']}, {used[0]['speed_mb'] or '?'} Mb/s, MTU {used[0]['mtu']}" if used else ""
        gid = "" if chosen.get("gid_index") is None else f"{chosen['gid_index']} ({chosen['gid']})"
        yield str(node["node"]), chosen.get("interface") or "none", about, chosen.get("fabric", ""), gid


NETWORK_HEADER = ("node", "interface", "state", "RDMA ports", "GID index")


def folder_rows(nodes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Each folder of each node."""
    for node in nodes:
        for folder in node["facts"].get("folders", []):
            speeds = [f"{folder[name]:,.0f}" if name in folder else "-" for name in ("write_mb", "read_mb")]
            sync = f"{folder['sync_ms']:g}" if "sync_ms" in folder else "-"
            free = f"{folder['free_gib']:,.0f}"
            yield (str(node["node"]), folder["use"], folder["path"], folder["file_system"], free, *speeds, sync)


FOLDER_HEADER = ("node", "for", "folder", "file system", "free GiB", "write MB/s", "read MB/s", "sync ms")


def rate_rows(answer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Each measurement: median, least and most over the workers, and the peak where it is known."""
    peaks = _peaks(answer["devices"])
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for worker in answer["workers"]:
        for value in worker["values"]:
            by_name.setdefault(value["name"], []).append(value)
    for name, values in by_name.items():
        numbers = [value["value"] for value in values]
        middle, peak = statistics.median(numbers), peaks.get(name)
        share = f"{middle / peak:.0%} of {peak:g}" if peak else ""
        yield name, values[0]["unit"], *(f"{each:.4g}" for each in (middle, min(numbers), max(numbers))), share


RATE_HEADER = ("measured", "unit", "median", "least", "most", "peak")


def _nodes(nodes: Sequence[Mapping[str, Any]]) -> str:
    return "\n\n".join(
        table(header, rows, right=right)
        for header, rows, right in (
            (NODE_HEADER, list(node_rows(nodes)), (0,)),
            (NETWORK_HEADER, list(network_rows(nodes)), (0,)),
            (FOLDER_HEADER, list(folder_rows(nodes)), (0, 4, 5, 6, 7)),
        )
        if rows
    )


def _measured(answer: Mapping[str, Any]) -> str:
    rows = list(rate_rows(answer))
    return table(RATE_HEADER, rows, right=(2, 3, 4)) if rows else ""


def _peaks(devices: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Known peaks by the name of the measurement, when all devices are of one kind."""
    kinds = {device.get("accelerator") for device in devices}
    peak = devices[0].get("peak") if devices and len(kinds) == 1 else None
    if peak is None:
        return {}
    gemms = {f"gemm {precision}": float(value) for precision, value in peak["gemm_tflops"].items()}
    return {**gemms, "memory copy": float(peak["memory_tb"])}


def _finding(finding: Mapping[str, str]) -> str:
    head = f"{_SIGNS[finding['severity']]} {finding['name']}: {finding['where']}: {finding['evidence']}"
    return f"{head}\n  Remedy: {finding['remedy']}"

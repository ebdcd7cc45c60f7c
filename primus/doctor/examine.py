"""Puts together what nodes and workers have said: findings, rates, devices, as the one object that `--json` prints and
the report and the page show. Pure; session.py calls it on node 0."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from primus.doctor.compare import device_findings, name_of, node_findings
from primus.doctor.finding import EXIT_STATUS, Finding, by_severity, worst
from primus.doctor.plan import BUS
from primus.doctor.rules import host_findings
from primus.metrics.accelerators import named

FORMAT = 1
"""Of the JSON; goes up when a reader of the one before would misunderstand it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """Everything that came back."""

    started: str
    full: bool
    run_dir: str
    nodes: Sequence[Mapping[str, Any]]
    """`node`, `host`, `facts` of each that answered."""

    silent: Sequence[int] = ()
    """Nodes that did not answer."""

    absent: Sequence[int] = ()
    """Nodes that never came."""

    results: Sequence[Mapping[str, Any]] = ()
    """What the workers left."""

    workers: int = 0
    """How many there were; 0 when nothing was measured."""

    left_out: Sequence[str] = ()
    """What was not done, and why."""

    failure: str | None = None
    """How the measured part ended, unless well."""

    seconds: Mapping[str, float] = field(default_factory=dict)


def conclude(examination: Examination) -> dict[str, Any]:
    """The whole answer, in values of JSON."""
    found = by_severity(_findings(examination))
    severity = worst(found)
    return {
        "format": FORMAT,
        "started": examination.started,
        "mode": "full" if examination.full else "quick",
        "run_directory": examination.run_dir,
        "severity": severity,
        "exit_status": EXIT_STATUS[severity],
        "findings": [asdict(finding) for finding in found],
        "left_out": list(examination.left_out),
        "rates": rates(examination.results),
        "devices": [_device(result) for result in examination.results],
        "nodes": list(examination.nodes),
        "workers": list(examination.results),
        "seconds": dict(examination.seconds),
    }


def rates(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the devices: `gemm_tflops` by precision, `memory_tb`, and GB/s of the bus by scope for what is
    exchanged (`all_reduce_gb`: `{"node": .., "all": ..}`)."""
    values: dict[str, list[float]] = {}
    for result in results:
        for each in result["values"]:
            values.setdefault(each["name"], []).append(each["value"])
    found: dict[str, Any] = {}
    for name, numbers in values.items():
        what, _, detail = name.partition(" ")
        median = float(f"{statistics.median(numbers):.4g}")
        if what == "gemm":
            found.setdefault("gemm_tflops", {})[detail] = median
        elif name == "memory copy":
            found["memory_tb"] = median
        elif what in BUS:
            found.setdefault(f"{what}_gb", {})[detail] = median
    return found


def _device(result: Mapping[str, Any]) -> dict[str, Any]:
    """One device with its own rates, and the peaks of its kind beside."""
    device = dict(result["device"])
    known = named(device["accelerator"].split(maxsplit=1)[1]) if device.get("accelerator") else None
    if known is not None:
        device["peak"] = {"gemm_tflops": dict(known.tflops), "memory_tb": known.bandwidth_tb, "source": known.source}
    place = {name: result[name] for name in ("rank", "node", "host")}
    return {**place, **device, "rates": rates([result])}


def _findings(examination: Examination) -> Iterator[Finding]:
    for node in examination.absent:
        yield Finding(
            severity="error",
            name="absent",
            where=f"node {node}",
            evidence="it did not come while the others waited",
            remedy="see its output: it did not begin there, or does not reach node 0 (address, port, firewall)",
        )
    for node in examination.silent:
        yield Finding(
            severity="error",
            name="silent",
            where=f"node {node}",
            evidence="it had come, and then did not answer in time",
            remedy="the machine or its launcher hangs: log in there, see the kernel's log, take it out of the job",
        )
    for each in examination.nodes:
        yield from host_findings(each["facts"], name_of(each))
    yield from node_findings(examination.nodes)
    yield from _unfinished(examination)
    yield from device_findings(examination.results)


def _unfinished(examination: Examination) -> Iterator[Finding]:
    """Who held the measurements up: workers that left nothing, else those that have done least, else those that did not
    even notice that they hang."""
    if examination.failure is None:
        return
    late = [result for result in examination.results if result["late"]]
    if not late:
        yield Finding(
            severity="error",
            name="measuring-failed",
            where="the measured part",
            evidence=examination.failure,
            remedy="see the workers' logs in the run directory",
        )
        return
    known = {result["rank"]: result for result in examination.results}
    least = min(len(result["done"]) for result in known.values())
    behind = [rank for rank, result in known.items() if len(result["done"]) == least]
    stuck = [rank for rank in behind if not known[rank]["late"]] or behind
    held_up = [rank for rank in range(examination.workers) if rank not in known] or stuck
    step = late[0]["doing"] or "measuring"
    for rank in held_up if len(held_up) < examination.workers else []:
        result = known.get(rank)
        yield Finding(
            severity="error",
            name="worker-hangs",
            where=f"rank {rank} on {name_of(result)}" if result else f"rank {rank}",
            evidence=f"the others waited for it in `{step}`; {_standing(result)}",
            remedy="see that process and its device on that node (`ps`, kernel log): it hangs, is stopped, or has not "
            "begun",
        )
    if len(held_up) == examination.workers:
        yield Finding(
            severity="error",
            name="all-wait",
            where="all ranks",
            evidence=f"every worker waits in `{step}` for the others",
            remedy="see the network between the nodes: interface, RDMA ports and addresses that are chosen, firewall",
        )


def _standing(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "it left nothing"
    last = result["done"][-1] if result["done"] else "nothing"
    return f"it was in `{result['doing']}`, after {last}"

"""One examination from beginning to end, on each of its nodes: host part, measured part through the launcher, results
to node 0. `primus doctor` calls examine()."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from primus import __version__
from primus.doctor.examine import Examination, conclude
from primus.doctor.host import Place, examine_host, host_seconds
from primus.doctor.plan import REQUEST, STEP_SECONDS
from primus.doctor.talk import answer_clocks, ask_clocks, await_kind, collect
from primus.errors import MissingError, UsageError
from primus.job import Job, Resources
from primus.launch.care import Care
from primus.launch.devices import Accelerators
from primus.launch.link import Link
from primus.launch.record import Outcome
from primus.run import RunDirectory, explained, utc_now, write_text

_CARE = Care(stall_timeout=0, grace=5.0)
"""The workers watch their own time."""

_LAST_WORDS = 10.0
"""Seconds in which the nodes send what they have after the measured part."""

_PATIENCE = 90.0
"""Seconds that another node may need longer for the host part than node 0."""

_CLOCKS = 60.0
"""Seconds in which node 0 asks for the clocks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked for."""

    resources: Resources
    accelerators: Accelerators
    workspace: Path
    folders: Mapping[str, Path]
    full: bool = False
    limit: float | None = None
    """Seconds for one step of a worker; None for the rule of plan.py."""

    rendezvous_timeout: float = 600.0
    argv: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


@dataclass(slots=True)
class _Clock:
    """Seconds of each part of the examination."""

    begin: float = field(default_factory=time.monotonic)
    parts: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str, since: float) -> None:
        self.parts[name] = round(time.monotonic() - since, 3)


def examine(request: Request) -> dict[str, Any] | int:
    """On node 0 everything that was found; on another node the exit status that node 0 has decided."""
    clock, started = _Clock(), utc_now()
    run_dir, address, link = _meet(request)
    if request.resources.node_rank:
        return _take_part(request, run_dir, address, link)
    absent = sorted(set(range(1, request.resources.nnodes)) - link.nodes)
    clocks = ask_clocks(link) if link.nodes else {}
    facts = _host_part(request, address, clock)
    others = collect(link, "host", _PATIENCE) if link.nodes else {}
    silent = sorted(set(range(1, request.resources.nnodes)) - others.keys())
    nodes = [{"node": 0, "host": socket.gethostname(), "facts": facts}]
    nodes += [{"node": node, **others[node], "clock": clocks.get(node)} for node in sorted(others)]
    reason = _reason_not_to_measure(nodes, silent)
    link.send("measure", reason=reason)
    results: list[Mapping[str, Any]] = []
    outcome = None
    if reason is None:
        outcome = _measure(request, run_dir, link, clock)
        results = _results(run_dir.path, request.resources)
        more = collect(link, "results", _LAST_WORDS) if link.nodes else {}
        results += [result for node in sorted(more) for result in more[node]["results"]]
    clock.lap("total", clock.begin)
    answer = conclude(
        Examination(
            started=started,
            full=request.full,
            run_dir=str(run_dir.path),
            nodes=nodes,
            silent=[node for node in silent if node not in absent],
            absent=absent,
            results=_each_once(results),
            workers=request.resources.world_size if reason is None else 0,
            left_out=_left_out(reason, outcome),
            failure=(outcome.cause or "failed") if outcome and outcome.state == "failed" else None,
            seconds=clock.parts,
        )
    )
    if outcome is not None and outcome.state == "interrupted":
        answer["exit_status"] = outcome.exit_status
    _keep(answer, run_dir)  # before the others leave: a batch system may end what is left of a job then
    link.send("over", exit_status=answer["exit_status"])
    link.close()
    return answer


def _take_part(request: Request, run_dir: RunDirectory, address: str | None, link: Link) -> int:
    """As any other node."""
    answer_clocks(link, _CLOCKS)
    facts = _host_part(request, address, _Clock())
    link.send("host", host=socket.gethostname(), facts=facts)
    reason = await_kind(link, "measure", host_seconds(len(request.folders)) + _PATIENCE)["reason"]
    if reason is None:
        _measure(request, run_dir, link, _Clock())
        link.send("results", results=_results(run_dir.path, request.resources))
    status = int(await_kind(link, "over", 4 * _LAST_WORDS)["exit_status"])
    link.close()
    return status


def _meet(request: Request) -> tuple[RunDirectory, str | None, Link]:
    """The run directory that all nodes use, the address of node 0, and the connections."""
    from primus.launch.address import check_address
    from primus.launch.attempt import Agreed, choose_run_id
    from primus.launch.rendezvous import agree, refusal_told

    folder, resources = request.workspace / "doctor", request.resources
    with refusal_told(resources):
        address = check_address(resources)
        run_id = choose_run_id(request.environ)
        run_dir = RunDirectory.named(folder, run_id)
        if resources.node_rank == 0:
            if run_dir.report.parent.exists():  # left by the variable that names a run
                raise UsageError(
                    f"{run_dir.path} holds an examination already; unset PRIMUS_RUN_ID, or give a new name"
                )
            run_dir.create({})
    if resources.nnodes == 1:
        return run_dir, None, Link({})
    digest = f"doctor {__version__} {request.full}"
    agreed, link = agree(
        resources,
        digest=digest,
        decide=lambda: Agreed(run_id=run_id),
        timeout=request.rendezvous_timeout,
        incomplete=True,  # a node that does not come is a finding
    )
    return RunDirectory.named(folder, agreed.run_id), address, link


def _keep(answer: Mapping[str, Any], run_dir: RunDirectory) -> None:
    """Leave the report in the run directory as well."""
    from primus.doctor.page import page

    try:
        with explained(f"can't write {run_dir.page}"):
            run_dir.page.parent.mkdir(exist_ok=True)
            write_text(run_dir.report, json.dumps(answer, indent=2) + "\n")
            write_text(run_dir.page, page(answer))
    except MissingError as error:  # a full disk: what was found is printed all the same
        print(f"Warning: the report is not kept: {error}", file=sys.stderr)


def _host_part(request: Request, address: str | None, clock: _Clock) -> dict[str, Any]:
    _say(request, "Looking at the host")
    begin = time.monotonic()
    place = Place(
        environ=request.environ,
        accelerators=request.accelerators,
        folders=request.folders,
        address=address,
        full=request.full,
    )
    facts = examine_host(place)
    clock.lap("host", begin)
    return facts


def _reason_not_to_measure(nodes: Sequence[Mapping[str, Any]], silent: Sequence[int]) -> str | None:
    if silent:
        return f"node{'s' * (len(silent) > 1)} {', '.join(map(str, silent))} did not answer"
    without = [node for node in nodes if "version" not in node["facts"].get("torch", {})]
    if without:
        names = ", ".join(f"node {node['node']} ({node['host']})" for node in without)
        return f"torch can't be imported on {names}"
    return None


def _left_out(reason: str | None, outcome: Outcome | None) -> list[str]:
    if reason is not None:
        return [f"the measured part: {reason}"]
    if outcome is not None and outcome.state == "interrupted":
        return [f"what had not been measured yet: {outcome.cause}"]
    return []


def _measure(request: Request, run_dir: RunDirectory, link: Link, clock: _Clock) -> Outcome:
    """Run the workers of this node to their end. What the launcher would show stands in the run directory."""
    from primus.launch.local import submit

    resources = request.resources
    _say(request, f"Measuring with {resources.world_size} worker{'s' * (resources.world_size != 1)}")
    begin = time.monotonic()
    run_dir.create({}, node=resources.node_rank)
    job = _job(request, run_dir)
    with (
        (run_dir.logs / f"node{resources.node_rank}" / "launcher.log").open("a", encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        outcome = submit(job, argv=request.argv, environ=request.environ, care=_CARE, link=link)
    clock.lap("measured", begin)
    return outcome


def _job(request: Request, run_dir: RunDirectory) -> Job:
    """The workers, as a job like a training."""
    resources = request.resources
    if resources.nnodes > 1:
        from primus.launch.network import find_network

        network = find_network(address=resources.master_addr, accelerators=request.accelerators)
        resources = replace(resources, network=network)
    asked = {
        "full": request.full,
        "accelerator": resources.accelerator,
        "limit": request.limit or STEP_SECONDS[request.full],
    }
    return Job(
        name="doctor",
        backend="doctor",
        module="primus.doctor.worker",
        resources=resources,
        run_dir=run_dir.path,
        files={REQUEST: json.dumps(asked)},
        console_ranks=(),
    )


def _results(run_dir: Path, resources: Resources) -> list[Mapping[str, Any]]:
    """What the workers of this node have left; on node 0 all that is on its disk, which may be everybody's."""
    node = resources.node_rank or "*"
    paths = sorted((run_dir / "doctor").glob(f"node{node}-rank*.json"))
    return [json.loads(path.read_bytes()) for path in paths]


def _each_once(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    by_rank = {result["rank"]: result for result in results}
    return [by_rank[rank] for rank in sorted(by_rank)]


def _say(request: Request, what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)

"""The account of a failed run: who failed first, why, and what the others were doing. local.py prints it and keeps its
parts in status.json."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.backends.heartbeat import read_heartbeat
from primus.job import Job
from primus.launch.collective import missing_ranks
from primus.launch.diagnosis import Diagnosis, diagnose
from primus.launch.failure import describe_status, first_failure, tail_of
from primus.redact import redact_text
from primus.run import RunDirectory

TAIL = 20
"""Lines of a failed rank's log that the report shows."""

_READ = 400
"""Lines of it that are searched for a cause."""

_TRACEBACK = 40
"""Lines of a traceback that are shown; the middle of a longer one is left out."""

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")

_LEAST_DISK = 64 * 1024
"""Bytes; with fewer a disk is full."""

_PATIENCE = 2.0
"""Seconds that reading what the other ranks wrote may take."""

_GROUPS = 8
"""Kinds of what happened to the others that are told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What is known of a failed run."""

    cause: str
    """In one line, for status.json."""

    diagnosis: Diagnosis | None
    """The likeliest of the known causes."""

    failures: tuple[Mapping[str, Any], ...]
    """The workers that failed, the first one first."""

    text: str
    """For the terminal."""


def account_of(
    job: Job,
    failures: Sequence[Mapping[str, Any]],
    *,
    shown: Collection[int],
    kernel: Callable[[int], Sequence[str]] = lambda pid: (),
    gpu: Callable[[int], str] = lambda local_rank: "",
) -> Account:
    """The account of a run with these failures, at least one. `shown` are the ranks whose log is on the terminal
    already, `kernel` says what this machine's kernel did to a process, `gpu` which GPU a local rank of it used."""
    first = first_failure(failures)
    assert first is not None
    run_dir, here = RunDirectory(job.run_dir), first["node"] == job.resources.node_rank
    log = run_dir.log_path(first["node"], first["rank"])
    if not log.exists() and here:  # it ended before it had opened one
        log = run_dir.agent_log(first["node"])
    told = [*first.get("kernel", ()), *(kernel(first["pid"]) if here else ())]
    texts = [first["message"], first["traceback"], "\n".join(told), "\n".join(tail_of(log, _READ)), _disk(run_dir)]
    diagnosis = next(iter(diagnose(texts, first["exit_status"])), None)
    on_gpu = job.resources.accelerator != "cpu"
    place = (gpu(first["local_rank"]) if here else "") or (f"GPU {first['local_rank']}" if on_gpu else "")
    message = redact_text(first["message"])
    lines = [
        f"Training failed: rank {first['rank']} on node {first['node']} "
        f"({', '.join(filter(None, (first['host'], place)))}), exit status {first['exit_status']}",
        *_indented(message.splitlines()),
        *_why(job, first, diagnosis),
        *_others(job, first, failures),
        *_log_part(first, log, hidden=first["rank"] in shown, place="" if here else f", on {first['host']}"),
        *(_elsewhere(job) if diagnosis is not None and diagnosis.general else ()),
    ]
    return Account(
        cause=f"rank {first['rank']} on node {first['node']}: {message}{_and_why(diagnosis)}",
        diagnosis=diagnosis,
        failures=(first, *(failure for failure in failures if failure is not first)),
        text="\n".join(lines),
    )


def account_without_notes(job: Job, status: int) -> Account:
    """The account of a run in which no worker left a note: none could be started, or the disk took no note."""
    run_dir, node, per_node = RunDirectory(job.run_dir), job.resources.node_rank, job.resources.nproc_per_node
    log = run_dir.agent_log(node)
    own = range(node * per_node, (node + 1) * per_node)
    texts = ["\n".join(tail_of(each, _READ)) for each in (log, *(run_dir.log_path(node, rank) for rank in own))]
    texts.append(_disk(run_dir))
    diagnosis = next(iter(diagnose(texts, status)), None)
    said = f"the agent of the workers {describe_status(status)}"
    lines = [f"Training failed: {said}"]
    if diagnosis is not None:
        lines += [f"Cause: {diagnosis.cause}", f"  {diagnosis.evidence}", f"Remedy: {diagnosis.remedy}"]
    if diagnosis is None or diagnosis.general:
        lines += _elsewhere(job)
    lines += [f"Last lines of {log}:", *_indented(tail_of(log, TAIL))]
    return Account(cause=said + _and_why(diagnosis), diagnosis=diagnosis, failures=(), text="\n".join(lines))


def as_ranges(ranks: Iterable[int]) -> str:
    """`1-7, 9`."""
    parts: list[list[int]] = []
    for rank in sorted(ranks):
        if parts and rank == parts[-1][1] + 1:
            parts[-1][1] = rank
        else:
            parts.append([rank, rank])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _disk(run_dir: RunDirectory) -> str:
    """What is to be said of a full disk, on which nobody could write down that it is full."""
    try:
        left = os.statvfs(run_dir.path)
    except OSError:  # the directory went away
        return ""
    full = left.f_bavail * left.f_frsize < _LEAST_DISK
    return f"can't write {run_dir.path}: no space left on the device" if full else ""


def _and_why(diagnosis: Diagnosis | None) -> str:
    return "" if diagnosis is None else f" - {diagnosis.cause}"


def _why(job: Job, first: Mapping[str, Any], diagnosis: Diagnosis | None) -> list[str]:
    """The diagnosis in words."""
    if diagnosis is None:
        return []
    lines = [f"Cause: {diagnosis.cause}", *_there_and_not_here(job, first, diagnosis), *_missing(job, diagnosis)]
    if diagnosis.evidence not in redact_text(first["message"]):
        lines += _indented(diagnosis.evidence.splitlines())
    return [*lines, f"Remedy: {diagnosis.remedy}"]


def _there_and_not_here(job: Job, first: Mapping[str, Any], diagnosis: Diagnosis) -> list[str]:
    """A file that one node misses and another one has."""
    path, node = Path(diagnosis.values.get("path", "")), job.resources.node_rank
    if diagnosis.name != "file-missing" or first["node"] == node or not path.is_absolute() or not path.exists():
        return []
    return [f"  It is there on node {node}: the nodes do not see the same disk."]


def _missing(job: Job, diagnosis: Diagnosis) -> list[str]:
    """After a collective that timed out, the ranks that it waited for."""
    if diagnosis.name != "collective-timeout":
        return []
    run_dir, per_node = RunDirectory(job.run_dir), job.resources.nproc_per_node
    logs = {
        rank: "\n".join(tail_of(log, _READ))
        for rank in for_a_while(range(job.resources.world_size))
        if (log := run_dir.log_path(rank // per_node, rank)).exists()
    }
    missing, work = missing_ranks(logs)
    if not missing:
        return []
    return [f"  Missing in {work}, as far as the logs tell: {_ranks(missing)}"]


def _others(job: Job, first: Mapping[str, Any], failures: Sequence[Mapping[str, Any]]) -> list[str]:
    """What became of the other workers: those that failed, alike messages in one line, and the rest."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {_kind(first): []}
    for failure in failures:
        if failure is not first:
            groups.setdefault(_kind(failure), []).append(failure)
    same, *after = groups.values()
    lines = [f"  The same on {_ranks_of(same)}."] if same else []
    for group in after[:_GROUPS]:
        message, _, _ = redact_text(group[0]["message"]).partition("\n")
        lines.append(f"  After it {_ranks_of(group)}: {message}")
    if after[_GROUPS:]:
        lines.append(f"  … and {sum(map(len, after[_GROUPS:]))} other workers")
    return lines + _going(job, {failure["rank"] for failure in failures})


def _kind(failure: Mapping[str, Any]) -> tuple[str, int]:
    """The same for workers that failed in the same way, whatever numbers of theirs the message has."""
    return _NUMBER.sub("#", failure["message"]), failure["exit_status"]


def _going(job: Job, failed: Collection[int]) -> list[str]:
    """How far the workers were that did not fail."""
    run_dir, per_node = RunDirectory(job.run_dir), job.resources.nproc_per_node
    groups: dict[str, list[int]] = {}
    for rank in for_a_while(range(job.resources.world_size)):
        if rank not in failed:
            beat = read_heartbeat(run_dir.heartbeat_path(rank // per_node, rank))
            step = "" if beat is None else f" ({beat.phase}, last step {'none' if beat.step is None else beat.step})"
            groups.setdefault(step, []).append(rank)
    return [f"  {_ranks(ranks).capitalize()} had not failed{step}." for step, ranks in groups.items()]


def for_a_while(ranks: Sequence[int]) -> Iterator[int]:
    """The ranks, until looking at them has taken too long: a report of 10,000 must not wait for a slow disk."""
    end = time.monotonic() + _PATIENCE
    for rank in ranks:
        if time.monotonic() > end:
            return
        yield rank


def _log_part(first: Mapping[str, Any], log: Path, *, hidden: bool, place: str) -> list[str]:
    """The traceback and the end of the log before it; only the log's name when it is on the terminal already. `place`
    is where that is, when it is not here."""
    if hidden:
        return [f"Its log: {log}"]
    trace = redact_text(first["traceback"]).rstrip().splitlines()
    tail = _without(tail_of(log, TAIL + len(trace)), trace)[-TAIL:]
    lines = ["Traceback:", *_indented(_middle_out(trace))] if trace else []
    return lines + ([f"Last lines of {log}:", *_indented(tail)] if tail else [f"Its log{place}: {log}"])


def _without(lines: Sequence[str], trace: Sequence[str]) -> list[str]:
    """The lines of a log without the traceback that is shown already."""
    return [line for line in lines if line not in set(trace)] if trace else list(lines)


def _middle_out(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _TRACEBACK:
        return list(lines)
    half = _TRACEBACK // 2
    return [*lines[:half], f"… {len(lines) - 2 * half} lines …", *lines[-half:]]


def _elsewhere(job: Job) -> list[str]:
    """Where to look when the cause is on nodes whose files are not here."""
    run_dir, nodes = RunDirectory(job.run_dir), range(job.resources.nnodes)
    absent = [node for node in nodes if not (run_dir.logs / f"node{node}").exists()]
    if not absent:
        return []
    which = f"node{'s' * (len(absent) > 1)} {as_ranges(absent)}"
    return [f"The cause may be on {which}, whose disk is another: see {run_dir.path} there."]


def _ranks(ranks: Sequence[int]) -> str:
    """`rank 3`, or `ranks 1-7, 9 (8 workers)`."""
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {as_ranges(ranks)} ({len(ranks)} workers)"


def _ranks_of(failures: Iterable[Mapping[str, Any]]) -> str:
    return _ranks(sorted(failure["rank"] for failure in failures))


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]

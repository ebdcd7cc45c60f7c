"""The run directory: where each file of one run lives, and how it is written so that a reader never sees half of it.
Launchers create it, worker processes add logs and metrics, every command that reports reads it."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from primus.errors import MissingError

State = Literal["starting", "running", "restarting", "succeeded", "failed", "interrupted"]
"""`restarting` is a run that failed and is about to be started again. `interrupted` is one that was asked to stop:
Ctrl-C, SIGTERM, the end of its allocation."""

FINAL_STATES: tuple[State, ...] = ("succeeded", "failed", "interrupted")


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What status.json holds."""

    state: State
    attempt: int = 1
    """Counts the launches in this run directory, from 1."""

    exit_status: int | None = None
    """What `primus` exits with; None until the run has ended."""

    cause: str | None = None
    """Why it ended, for a run that failed or was interrupted."""

    diagnosis: Mapping[str, Any] | None = None
    """Its likeliest known cause, when there is one: `name`, `cause`, `evidence`, `remedy`, `transient` …"""

    failures: tuple[Mapping[str, Any], ...] = ()
    """The workers that failed, the first one first."""

    attempts: tuple[Mapping[str, Any], ...] = ()
    """The launches before this one: `attempt`, `state`, `exit_status`, `cause`, `started` and `ended` of each."""

    host: str = ""
    pid: int = 0
    """The launcher: a state that is not final belongs to a dead run when this process is gone."""

    started: str = ""
    updated: str = ""
    ended: str | None = None
    """UTC, as in `2026-01-31T12:00:00Z`."""


ATTEMPT_VARIABLE = "PRIMUS_ATTEMPT"
"""Tells the workers which attempt they are."""


class RunDirectory:
    """The files of one run. Making the object touches nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.experiment = self.path / "experiment.yaml"
        self.manifest = self.path / "manifest.json"
        self.status = self.path / "status.json"
        self.metrics = self.path / "metrics.jsonl"
        self.model = self.path / "model.json"
        self.logs = self.path / "logs"
        self.failures = self.path / "failures"
        self.heartbeats = self.path / "heartbeats"
        self.facts = self.path / "facts"
        self.report = self.path / "doctor" / "report.json"
        self.page = self.path / "doctor" / "report.html"
        """What `primus doctor` has found, whose run this may be."""

    @classmethod
    def named(cls, folder: Path, run_id: str) -> RunDirectory:
        """The directory of one run of the experiment with this folder, as an absolute path."""
        return cls(folder.absolute() / "runs" / run_id)

    @property
    def id(self) -> str:
        return self.path.name

    def log_path(self, node: int, rank: int) -> Path:
        """Output of one worker process; `rank` is the global one."""
        return self.logs / f"node{node}" / f"rank{rank}.log"

    def node_facts(self, node: int) -> Path:
        """What machine one node is."""
        return self.facts / f"node{node}.json"

    def diff_path(self, checkout: str) -> Path:
        """What was changed in a checkout, beside the manifest."""
        return self.facts / f"{checkout}.diff"

    def agent_log(self, node: int) -> Path:
        """Notes of the launcher of one node, output of its agent, and of a worker before that has opened its log."""
        return self.logs / f"node{node}" / "agent.log"

    def failure_path(self, node: int, rank: int) -> Path:
        """What a worker says about its own end, when an exception ended it."""
        return self.failures / f"node{node}-rank{rank}.json"

    def heartbeat_path(self, node: int, rank: int) -> Path:
        """How far a worker has come."""
        return self.heartbeats / f"node{node}-rank{rank}"

    def stacks_path(self, node: int, rank: int) -> Path:
        """Where a worker writes its Python stacks when it is asked to."""
        return self.heartbeats / f"node{node}-rank{rank}.stacks"

    def earlier(self, attempt: int) -> Path:
        """What an earlier attempt has left: its logs, failures, heartbeats, manifest and experiment."""
        return self.path / f"attempt{attempt}"

    def create(self, files: Mapping[str, str], *, node: int = 0) -> None:
        """Make the folders of one node and write `files` (text by relative path); MissingError when that can't be."""
        with explained(f"can't make the run directory {self.path}"):
            for folder in (self.logs / f"node{node}", self.failures, self.heartbeats, self.facts):
                folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                path = self.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, text)

    def write_json(self, path: Path, data: Any) -> None:
        """Replace a file of this run by `data` at once: a reader finds the old file or the whole new one."""
        with explained(f"can't write {path}"):
            write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")

    def write_status(self, status: Status) -> None:
        self.write_json(self.status, asdict(status))

    def read_status(self) -> Status | None:
        """The last status, or None before the first one was written."""
        try:
            data = json.loads(self.status.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        data["failures"], data["attempts"] = tuple(data["failures"]), tuple(data.get("attempts", ()))
        return Status(**data)

    def read_failures(self) -> list[dict[str, Any]]:
        """What the workers said about their own ends, the earliest first."""
        found = [json.loads(path.read_text(encoding="utf-8")) for path in self.failures.glob("node*-rank*.json")]
        return sorted(found, key=lambda failure: float(failure["time"]))


def write_text(path: Path, text: str) -> None:
    """Write a file so that it appears whole or not at all, also when the machine dies in between."""
    # Nodes that share a disk may have the same process ids.
    partial = path.with_name(f".{path.name}.{os.urandom(6).hex()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
"""What a run may be called: a plain file name."""


def new_run_id() -> str:
    """A name that sorts by time, down to 1/4096 s (three digits after the dash), and that no other run has."""
    now = datetime.now(timezone.utc)
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond * 4096 // 1_000_000:03x}{os.urandom(2).hex()[1:]}"


def utc_now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


_REMEDIES = {
    errno.EACCES: "no permission; choose another `workspace`, or ask for write access",
    errno.EPERM: "no permission; choose another `workspace`, or ask for write access",
    errno.EROFS: "the file system is read-only; choose another `workspace`",
    errno.ENOSPC: "no space left on the device; free some, or choose another `workspace`",
    errno.EDQUOT: "your disk quota is used up; free some space, or choose another `workspace`",
    errno.ENOENT: "the folder is not there, or not any more",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another `workspace`",
    errno.EEXIST: "a file of that name is in the way; choose another `workspace`",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter `workspace` or `exp_name`",
}


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the file system's refusals into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        raise MissingError(f"{what}: {_REMEDIES[error.errno]}.") from error

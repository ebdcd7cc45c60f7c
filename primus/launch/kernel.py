"""What the kernel did to a job: processes that it killed for their memory, GPUs that it reset. local.py and the agent
look at it when a worker has failed."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_GPU = r"NVRM: (?:Xid|GPU)|amdgpu .*(?:GPU reset begin|hardware error|page fault|ring \S+ timeout)"
"""Lines of the kernel's log that say that a GPU is at fault."""

_MOST = 8
"""Lines that are kept."""


class KernelWatch:
    """Made when the workers start; evidence() says what has happened since."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._begin = time.clock_gettime(time.CLOCK_MONOTONIC)
        self._counter = _oom_counter(root)
        self._kills = _kills(self._counter)

    def evidence(self, pid: int) -> list[str]:
        """What the kernel says about the end of this process; nothing where it may not be read."""
        lines = []
        kills = _kills(self._counter)
        if self._kills is not None and kills is not None and kills > self._kills:
            lines.append(f"oom_kill rose from {self._kills} to {kills} in {self._counter}")
        return lines + self._log(pid)

    def _log(self, pid: int) -> list[str]:
        """Lines of the kernel's log since the start that are about the process or a GPU."""
        own = re.compile(rf"Killed process {pid} \(")
        found = []
        for record in _records(self._root / "dev/kmsg"):
            head, _, text = record.partition(";")
            fields = head.split(",")
            line = text.splitlines()[0] if text else ""
            if len(fields) > 2 and int(fields[2]) / 1e6 >= self._begin and (own.search(line) or re.search(_GPU, line)):
                found.append(line)
        return found[:_MOST]


def _oom_counter(root: Path) -> Path | None:
    """The file in which the kernel counts what it killed in the control group of this process."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    places = []
    for line in groups:
        _, controllers, group = line.split(":", 2)
        if "memory" in controllers.split(","):
            folder = root / "sys/fs/cgroup/memory"
            places += [folder / group.lstrip("/") / "memory.oom_control", folder / "memory.oom_control"]
        elif not controllers:
            folder = root / "sys/fs/cgroup"
            places += [folder / group.lstrip("/") / "memory.events", folder / "memory.events"]
    return next((place for place in places if _kills(place) is not None), None)


def _kills(counter: Path | None) -> int | None:
    try:
        lines = counter.read_text().splitlines() if counter else []
    except OSError:  # not there, or not for us
        return None
    return next((int(line.removeprefix("oom_kill ")) for line in lines if line.startswith("oom_kill ")), None)


def _records(log: Path) -> list[str]:
    """The kernel's log, one record for each read; nothing where only root may read it."""
    try:
        file = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    found = []
    try:
        while record := os.read(file, 8192):
            found.append(record.decode(errors="replace"))
    except BlockingIOError:
        return found  # the end
    except BrokenPipeError:
        return found  # the kernel wrote over what we were reading
    finally:
        os.close(file)
    return found

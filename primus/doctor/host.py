"""What one node is and how it stands, without torch: every check of the host part, each with a limit on its time.
session.py calls examine_host() on each node."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.doctor.host_disk import folder_facts
from primus.doctor.host_gpus import gpu_facts
from primus.doctor.host_network import name_facts, network_facts
from primus.doctor.host_software import software_facts, torch_facts
from primus.doctor.host_system import limit_facts, memory_facts, system_facts
from primus.launch.devices import Accelerators


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where to look."""

    environ: Mapping[str, str]
    accelerators: Accelerators
    folders: Mapping[str, Path]
    """Folders that training uses, by what for: `run`, `cache`, `data`."""

    address: str | None = None
    """Of node 0, where there are several."""

    full: bool = False
    root: Path = Path("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One part of the facts."""

    look: Callable[[Place], Any]
    seconds: float
    """After so long it counts as hanging, and the next one begins."""


CHECKS: Mapping[str, Check] = {
    "system": Check(look=lambda place: system_facts(place.root), seconds=5),
    "limits": Check(look=lambda place: limit_facts(place.root), seconds=5),
    "memory": Check(look=lambda place: memory_facts(place.root), seconds=5),
    "gpus": Check(look=lambda place: gpu_facts(place.accelerators, place.environ, place.root), seconds=30),
    "network": Check(look=lambda place: network_facts(place.accelerators, place.address, place.root), seconds=10),
    "names": Check(look=lambda place: name_facts(place.address), seconds=10),
    "software": Check(look=lambda place: software_facts(place.root), seconds=10),
    "torch": Check(look=lambda place: torch_facts(place.environ), seconds=90),
}
"""In this order, by their names in the report."""

FOLDER_SECONDS = 30.0
"""Limit of the check of each folder."""


def host_seconds(folders: int) -> float:
    """The host part takes no longer."""
    return sum(check.seconds for check in CHECKS.values()) + folders * FOLDER_SECONDS


def examine_host(place: Place, checks: Mapping[str, Check] = CHECKS) -> dict[str, Any]:
    """The facts by check and of the `folders`, with `seconds` of each check, `hung` ones and `failed` ones with the
    system's words."""
    facts: dict[str, Any] = {"seconds": {}, "hung": {}, "failed": {}}
    folders = {f"{use} folder {folder}": _folder_check(use, folder) for use, folder in place.folders.items()}
    _look(place, {**checks, **folders}, facts)
    facts["folders"] = [facts.pop(name) for name in folders if name in facts]
    return facts


def _folder_check(use: str, folder: Path) -> Check:
    return Check(look=lambda place: folder_facts(use, folder, full=place.full), seconds=FOLDER_SECONDS)


def _look(place: Place, checks: Mapping[str, Check], facts: dict[str, Any]) -> None:
    for name, check in checks.items():
        begin = time.monotonic()
        answer = _within(check, place)
        facts["seconds"][name] = round(time.monotonic() - begin, 3)
        if answer is None:
            facts["hung"][name] = check.seconds
        elif isinstance(answer[0], OSError):
            facts["failed"][name] = str(answer[0])
        else:
            facts[name] = answer[0]


def _within(check: Check, place: Place) -> tuple[Any] | None:
    """The answer or the system's refusal; None when none came in time. The thread of a check that hangs in the kernel
    stays behind."""
    answer: list[Any] = []

    def look() -> None:
        try:
            answer.append(check.look(place))
        except OSError as error:
            answer.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(check.seconds)
    return (answer[0],) if answer else None

"""Runs the workers of a tiny training as forks of a process that has imported the backend already, and lays what each
moved in its last step beside what the estimate says."""

import json
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moved import Moved

from primus.backends.account import Account
from primus.backends.worker import Worker, run
from primus.estimate.traffic import traffic

Groups = Callable[[str, str], str | None]
"""Description of a process group, operation → how the estimate calls the group; None for sums of a few numbers."""


def estimated(name: str, account: Account, processes: int) -> list[dict[str, Any]]:
    """A row for each group. Dense weights and experts may share a group of data parallelism, and are added up."""
    ours = Counter[str]()
    for each in traffic(account):
        ours["data" if each.group == "data, experts" else each.group] += each.bytes
    return [{"case": name, "ranks": processes, "group": group, "ours": size} for group, size in ours.items()]


def measured(rows: list[dict[str, Any]], ranks: list[dict[str, float]], group_of: Groups) -> list[dict[str, Any]]:
    """The rows with the bytes of the busiest rank, and with what moved in none of the groups."""
    found = []
    for rank in ranks:
        found.append(Counter[str]())
        for key, moved in rank.items():
            found[-1][group_of(*key.split()) or "other"] += moved
    ours = {row["group"] for row in rows}
    other = max(sum(moved for group, moved in rank.items() if group not in ours) for rank in found)
    return [row | {"real": round(max(rank[row["group"]] for rank in found)), "other": round(other)} for row in rows]


def train(
    folder: Path, processes: int, work: Callable[[Worker], None], loop: type, step: str
) -> list[dict[str, float]]:
    """Of every rank of `folder`, a run directory: bytes by `group operation`. `step` is the loop's method of a step."""
    place = meeting(processes)
    children = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            os.environ |= place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            _record(loop, step, folder / f"moved-{rank}.json")
            sys.argv = ["worker", str(folder), "--resume", "never"]
            run(work)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        logs = sorted(folder.rglob("rank*.log"))
        raise SystemExit("\n".join(path.read_text()[-3000:] for path in logs))
    return [json.loads((folder / f"moved-{rank}.json").read_text()) for rank in range(processes)]


def meeting(processes: int) -> dict[str, str]:
    """torchrun's variables that all ranks share."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0"}
    return place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def _record(loop: type, name: str, file: Path) -> None:
    """Each step writes what it moved: the last one's stays, which sets nothing up any more."""
    step = getattr(loop, name)

    def recorded(self: Any, *arguments: Any) -> Any:
        with Moved() as moved:
            found = step(self, *arguments)
        file.write_text(json.dumps({" ".join(key): value for key, value in moved.bytes.items()}))
        return found

    setattr(loop, name, recorded)

"""Nodes by name: those that a list such as `n[1-3,7]` means, and those of them that have failed. survive.py asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone

from primus.launch.slurm.tools import call

_DOWN = ("DOWN", "FAIL", "NOT_RESPONDING")


def expand(nodes: str, environ: Mapping[str, str]) -> list[str]:
    """The names in a list, in the order of the nodes' ranks."""
    return call("scontrol", ["show", "hostnames", nodes], environ).split()


def failed_since(nodes: str, moment: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Which of these nodes are down, or have been started anew since a moment (UTC), with the reason in words."""
    answer = call("scontrol", ["show", "node", nodes, "--oneliner"], {**environ, "SLURM_TIME_FORMAT": "standard"})
    since = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return {name: why for line in answer.splitlines() for name, why in _failed(line, since)}


def _failed(line: str, since: datetime) -> list[tuple[str, str]]:
    """The node of one line, if it has failed."""
    name, state = _value("NodeName", line), _value("State", line)
    if any(word in state for word in _DOWN) or "*" in state:
        reason = re.search(r" Reason=(.*?)(?: \[|$)", line)
        return [(name, f"node {name} is {state.lower()}" + (f": {reason[1].strip()}" if reason else ""))]
    booted = _value("BootTime", line)
    try:
        again = datetime.strptime(booted, "%Y-%m-%dT%H:%M:%S").astimezone() > since
    except ValueError:  # None, Unknown
        return []
    return [(name, f"node {name} was started anew at {booted}")] if again else []


def _value(field: str, line: str) -> str:
    match = re.search(rf"(?:^|\s){field}=(\S*)", line)
    return match[1] if match else ""

"""Kernel, processors, memory and limits of a machine, as the kernel tells them. host.py calls it."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Any

from primus.machine import machine_facts

_LIMITS = {"memlock": resource.RLIMIT_MEMLOCK, "nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}

_SETTINGS = {
    "transparent_hugepages": "sys/kernel/mm/transparent_hugepage/enabled",
    "numa_balancing": "proc/sys/kernel/numa_balancing",
    "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "swappiness": "proc/sys/vm/swappiness",
    "pid_max": "proc/sys/kernel/pid_max",
}
"""File of each setting of the kernel; one in brackets is the choice among those around it."""


def system_facts(root: Path) -> dict[str, Any]:
    """Kernel, drivers, processors, NUMA nodes, and settings that matter to training."""
    settings = {name: text for name, path in _SETTINGS.items() if (text := _chosen(read(root / path)))}
    return {
        **machine_facts(root),
        "numa": numa_nodes(root),
        "iommu": _iommu(root),
        "boot": read(root / "proc/cmdline"),
        **settings,
    }


def limit_facts(root: Path) -> dict[str, Any]:
    """Soft and hard limit of each kind, None for none, and what a control group allows."""
    facts: dict[str, Any] = {}
    for name, number in _LIMITS.items():
        facts[name] = [None if each == resource.RLIM_INFINITY else each for each in resource.getrlimit(number)]
    for name, path in (("cgroup_memory", "memory.max"), ("cgroup_pids", "pids.max"), ("cgroup_cpu", "cpu.max")):
        text = read(root / "sys/fs/cgroup" / path)
        if text and not text.startswith("max"):
            facts[name] = text
    return facts


def memory_facts(root: Path) -> dict[str, float]:
    """GiB of memory and of shared memory, in all and free."""
    import os

    lines = re.findall(r"^(\w+):\s+(\d+) kB", read(root / "proc/meminfo"), re.MULTILINE)
    kilobytes = {name: int(value) for name, value in lines}
    names = {"total_gib": "MemTotal", "available_gib": "MemAvailable", "swap_gib": "SwapTotal"}
    facts = {name: round(kilobytes[key] / 2**20, 2) for name, key in names.items() if key in kilobytes}
    if "SwapTotal" in kilobytes and "SwapFree" in kilobytes:
        facts["swap_used_gib"] = round((kilobytes["SwapTotal"] - kilobytes["SwapFree"]) / 2**20, 2)
    shared = root / "dev/shm"
    if shared.exists():
        space = os.statvfs(shared)
        facts["shared_gib"] = round(space.f_blocks * space.f_frsize / 2**30, 2)
        facts["shared_free_gib"] = round(space.f_bavail * space.f_frsize / 2**30, 2)
    return facts


def numa_nodes(root: Path) -> dict[str, str]:
    """Processors of each NUMA node."""
    nodes = sorted((root / "sys/devices/system/node").glob("node[0-9]*"), key=lambda path: int(path.name[4:]))
    return {path.name[4:]: read(path / "cpulist") for path in nodes}


def read(path: Path) -> str:
    """A file of the kernel's; empty where there is none or it is refused."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _iommu(root: Path) -> str:
    """`off`, `passthrough`, or `translates`, which makes traffic between devices slower."""
    if not any((root / "sys/class/iommu").glob("*")):
        return "off"
    words = read(root / "proc/cmdline").split()
    kinds = {read(path / "type") for path in (root / "sys/kernel/iommu_groups").glob("*")} - {""}
    passes = "iommu=pt" in words or "iommu.passthrough=1" in words or kinds == {"identity"}
    return "passthrough" if passes else "translates"


def _chosen(text: str) -> str:
    found = re.search(r"\[(\w+)\]", text)
    return found[1] if found else text

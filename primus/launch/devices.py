"""Which accelerators this machine has, found without torch and without starting a process. `primus train` asks it for
the number of worker processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["cpu", "amd", "nvidia"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerators:
    """The accelerators that a worker on this machine can use."""

    kind: Kind
    count: int
    """Visible ones; 0 on a CPU."""

    evidence: str
    """Where that is known from, for the user."""


_VISIBLE: dict[Kind, tuple[str, ...]] = {
    "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
}
"""Variables that hide devices from a process. ROCm takes HIP_VISIBLE_DEVICES before its alias CUDA_VISIBLE_DEVICES."""


def find_accelerators(environ: Mapping[str, str], root: Path = Path("/")) -> Accelerators:
    """What torch will find in a worker with this environment; `root` is the file system's root."""
    for kind, count_devices in (("amd", _count_amd), ("nvidia", _count_nvidia)):
        present, evidence = count_devices(root)
        if present:
            count, hidden_by = _visible(kind, present, environ)  # type: ignore[arg-type]
            if hidden_by:
                evidence = f"{evidence}, {hidden_by}"
            return Accelerators(kind=kind if count else "cpu", count=count, evidence=evidence)  # type: ignore[arg-type]
    return Accelerators(kind="cpu", count=0, evidence="no /dev/kfd and no /dev/nvidia0")


def _count_amd(root: Path) -> tuple[int, str]:
    """GPUs in the kernel driver's topology; its CPU nodes have no SIMD units."""
    if not (root / "dev/kfd").exists():
        return 0, ""
    nodes = root / "sys/class/kfd/kfd/topology/nodes"
    count = 0
    for properties in nodes.glob("*/properties"):
        simd = re.search(r"^simd_count (\d+)$", _read(properties), re.MULTILINE)
        count += bool(simd and int(simd[1]))
    return count, str(nodes)


def _count_nvidia(root: Path) -> tuple[int, str]:
    """Device files: in a container they are the GPUs it was given, while /proc shows those of the host."""
    devices = root / "dev"
    count = sum(1 for path in devices.glob("nvidia[0-9]*") if path.name[len("nvidia") :].isdigit())
    return count, f"{devices}/nvidia*"


def _visible(kind: Kind, present: int, environ: Mapping[str, str]) -> tuple[int, str]:
    """How many of the present devices the environment leaves, and the variable that hides the others."""
    count, hidden_by = present, ""
    for name in _VISIBLE[kind]:
        if name not in environ or (name == "CUDA_VISIBLE_DEVICES" and "HIP_VISIBLE_DEVICES" in environ):
            continue
        listed = _count_listed(environ[name])
        if listed < count:
            count, hidden_by = listed, f"{name}={environ[name]}"
    return count, hidden_by


def _count_listed(value: str) -> int:
    """Entries up to the first that is not a device, which is where the runtimes stop reading."""
    count = 0
    for entry in value.split(","):
        if not re.fullmatch(r"\d+|(GPU|MIG)-[0-9A-Za-z/-]+", entry.strip()):
            break
        count += 1
    return count


def _read(path: Path) -> str:
    """Text of a driver's file, which only root may read for the devices of others."""
    try:
        return path.read_text()
    except PermissionError:
        return ""

"""Which accelerators this machine has, found without torch from what the kernel's drivers say; a vendor's tool is asked
only where they say nothing. `primus train` asks it for the number and the model of the GPUs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
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

    model: str | None = None
    """`gfx942` or `NVIDIA H200` for instance; None when it is not known, or when the GPUs differ."""

    addresses: tuple[str, ...] = ()
    """PCI addresses of all GPUs of the machine, where they are known."""

    evidence: str
    """Where that is known from, for the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """GPUs of one kind, hidden or not."""

    count: int
    models: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    evidence: str = ""


_VISIBLE: dict[Kind, tuple[str, ...]] = {
    "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
}
"""Variables that hide devices from a process. ROCm takes HIP_VISIBLE_DEVICES before its alias CUDA_VISIBLE_DEVICES."""

_TOOLS: dict[Kind, tuple[tuple[str, ...], ...]] = {
    "amd": (("amd-smi", "list", "--json"), ("rocm-smi", "--showid", "--json")),
    "nvidia": (("nvidia-smi", "--list-gpus"),),
}
_TOOL_TIMEOUT = 10.0


def find_accelerators(environ: Mapping[str, str], root: Path = Path("/")) -> Accelerators:
    """What torch will find in a worker with this environment; `root` is the file system's root."""
    finders: tuple[tuple[Kind, Callable[..., _Found]], ...] = (("amd", _find_amd), ("nvidia", _find_nvidia))
    for kind, find in finders:
        found = find(root, environ)
        if found.count:
            count, hidden_by = _visible(kind, found.count, environ)
            return Accelerators(
                kind=kind if count else "cpu",
                count=count,
                model=next(iter(found.models)) if count and len(found.models) == 1 else None,
                addresses=found.addresses,
                evidence=f"{found.evidence}, {hidden_by}" if hidden_by else found.evidence,
            )
    return Accelerators(kind="cpu", count=0, evidence="no /dev/kfd and no /dev/nvidia0")


def gpu_of(local_rank: int, environ: Mapping[str, str], root: Path = Path("/")) -> str:
    """The GPU that a worker uses, for people: `GPU 3, 0000:0c:00.0`, without the address where it is not known. No
    vendor's tool is asked: this is for a machine whose GPU may hang."""
    found = find_accelerators({name: value for name, value in environ.items() if name != "PATH"}, root)
    if found.kind == "cpu":
        return ""
    addresses, index = found.addresses, local_rank
    hidden_by = [name for name in _VISIBLE[found.kind] if name in environ]
    if "HIP_VISIBLE_DEVICES" in hidden_by and "CUDA_VISIBLE_DEVICES" in hidden_by:
        hidden_by.remove("CUDA_VISIBLE_DEVICES")
    for name in reversed(hidden_by):  # each counts in what the one before it has left
        listed = environ[name].split(",")
        if index >= len(listed) or not listed[index].strip().isdigit():
            return f"GPU {local_rank}"
        index = int(listed[index])
    sure = len(set(addresses)) == len(addresses) and index < len(addresses)
    return f"GPU {local_rank}, {addresses[index]}" if sure else f"GPU {local_rank}"


def _find_amd(root: Path, environ: Mapping[str, str]) -> _Found:
    """GPUs in the kernel driver's topology; its CPU nodes have no SIMD units."""
    if not (root / "dev/kfd").exists():
        return _Found(count=0)
    nodes = root / "sys/class/kfd/kfd/topology/nodes"
    if not nodes.exists():  # a container that does not see all of /sys
        return _ask_tools("amd", environ)
    gpus = [gpu for path in nodes.glob("*/properties") if (gpu := _properties(_read(path))).get("simd_count")]
    return _Found(
        count=len(gpus),
        models=frozenset(_architecture(gpu.get("gfx_target_version", 0)) for gpu in gpus),
        addresses=tuple(sorted(_pci_address(gpu) for gpu in gpus if gpu.get("location_id"))),
        evidence=str(nodes),
    )


def _properties(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE)}


def _architecture(version: int) -> str:
    """90402 is gfx942, and 90010 is gfx90a: the last two numbers are written as hexadecimal digits."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _pci_address(gpu: Mapping[str, int]) -> str:
    """The partitions of a GPU have its address, with other functions; the GPU itself is function 0."""
    location = gpu["location_id"]
    return f"{gpu.get('domain', 0):04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.0"


def _find_nvidia(root: Path, environ: Mapping[str, str]) -> _Found:
    """Device files: in a container they are the GPUs it was given, while /proc shows those of the host."""
    devices = root / "dev"
    count = sum(1 for path in devices.glob("nvidia[0-9]*") if path.name[len("nvidia") :].isdigit())
    if not count:
        driver = any((devices / name).exists() for name in ("nvidiactl", "dxg"))  # dxg: Windows Subsystem for Linux
        return _ask_tools("nvidia", environ) if driver else _Found(count=0)
    folders = sorted((root / "proc/driver/nvidia/gpus").glob("*"))
    models = (re.search(r"^Model:\s*(.+?)\s*$", _read(path / "information"), re.MULTILINE) for path in folders)
    return _Found(
        count=count,
        models=frozenset(model[1] for model in models if model),
        addresses=tuple(path.name for path in folders),
        evidence=f"{devices}/nvidia*",
    )


def _ask_tools(kind: Kind, environ: Mapping[str, str]) -> _Found:
    """The number of GPUs that the first tool which is installed and works knows of."""
    import shutil  # slow to import, seldom needed
    import subprocess

    for tool, *arguments in _TOOLS[kind]:
        program = shutil.which(tool, path=environ.get("PATH", ""))
        if program is None:
            continue
        try:
            done = subprocess.run(
                [program, *arguments], capture_output=True, text=True, timeout=_TOOL_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:  # a GPU that hangs; the next tool would as well
            break
        if done.returncode == 0:
            return _Found(count=_count_output(done.stdout), evidence=" ".join((tool, *arguments)))
    return _Found(count=0)


def _count_output(text: str) -> int:
    """GPUs in the JSON of AMD's tools (a list, or an object with `card0` and so on), or in nvidia-smi's lines."""
    try:
        listed = json.loads(text)
    except ValueError:
        return len(re.findall(r"^GPU \d+: ", text, re.MULTILINE))
    if isinstance(listed, dict):
        return sum(1 for name in listed if re.fullmatch(r"card\d+", name))
    return len(listed) if isinstance(listed, list) else 0


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
    """Text of a driver's file; empty where only root may read it, for the devices of others, or where there is none."""
    try:
        return path.read_text()
    except (PermissionError, FileNotFoundError):
        return ""

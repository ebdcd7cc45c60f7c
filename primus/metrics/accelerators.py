"""What each known accelerator can do at best, from accelerators.json, and which one a device is.

The meter divides by the peak for MFU; `primus estimate` and `primus doctor` show the rest. Without torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Precision = Literal["bf16", "fp16", "fp8", "tf32", "fp32"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A device as PyTorch reports it."""

    name: str
    """torch.cuda.get_device_name, for instance `AMD Instinct MI300X`."""

    architecture: str = ""
    """gcnArchName of AMD's devices, for instance `gfx942:sramecc+:xnack-`."""

    units: int
    """Compute units or streaming multiprocessors."""

    memory_gib: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """One row of the table."""

    name: str
    device_name: str
    """Regular expression for the names that PyTorch reports."""

    architecture: str = ""
    """Where it tells the accelerator of a device without a name, together with units and memory."""

    units: int
    """A device with fewer is a part of this accelerator, or another one of that name."""

    memory_gib: int
    bandwidth_tb: float
    """Of the memory, in 10^12 bytes per second."""

    tflops: Mapping[str, float]
    """Dense peak by precision. One that is missing is not supported."""

    source: str

    def peak(self, precision: Precision) -> float | None:
        """FLOP/s at best, without sparsity; None when the accelerator has no such units."""
        found = self.tflops.get(precision)
        return None if found is None else found * 1e12


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """The whole table."""
    rows = json.loads(Path(__file__).with_name("accelerators.json").read_bytes())
    return tuple(Accelerator(**row) for row in rows)


def find(device: Device) -> Accelerator | None:
    """The accelerator that a device is; None when that is not certain: unknown, or a partition of one."""
    if _is_nameless(device.name):
        return next((row for row in accelerators() if _looks_like(device, row)), None)
    return next(
        (row for row in accelerators() if re.search(row.device_name, device.name) and row.units == device.units), None
    )


def named(name: str) -> Accelerator | None:
    """The accelerator of a name that people use, for instance `MI300X` or `h100 sxm`."""
    words = name.lower().split()
    return next((row for row in accelerators() if row.name.lower().split()[-len(words) :] == words), None)


def device_of(properties: Any) -> Device:
    """The description of a device from torch.cuda.get_device_properties."""
    return Device(
        name=properties.name,
        architecture=getattr(properties, "gcnArchName", ""),
        units=properties.multi_processor_count,
        memory_gib=properties.total_memory / 2**30,
    )


def _is_nameless(name: str) -> bool:
    """ROCm without a table of PCI names calls every device so."""
    return name in ("", "AMD Radeon Graphics")


def _looks_like(device: Device, row: Accelerator) -> bool:
    same = (row.architecture, row.units) == (device.architecture.split(":")[0], device.units)
    return same and abs(device.memory_gib / row.memory_gib - 1) < 0.05

"""How fast an accelerator and its links really are: measured rates from a file, or shares of the peak that the output
states. Pure, but for reading that file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.errors import MissingError, UsageError, did_you_mean
from primus.metrics.accelerators import Accelerator, Precision, accelerators, named

EFFICIENCY = 0.5
"""Part of the peak that a whole layer reaches, with everything between its matrix multiplications. Assumed."""

LINK_EFFICIENCY = 0.7
"""Part of a link's peak that collectives reach. Assumed: AMD says that protocol and error correction alone take a
quarter of its links (github.com/ROCm/rccl/issues/1210); of NVIDIA's, copies reach 84 % (NVIDIA/nccl/issues/1264)."""

NETWORK = 50e9
"""Bytes per second of the network for each accelerator, one way: one 400 Gbit/s port. Assumed."""


@dataclass(frozen=True, slots=True)
class Link:
    """From one accelerator to the others of its node."""

    rate: float
    """Bytes per second one way, all links together."""

    source: str


LINKS = {
    "AMD Instinct MI250X": Link(200e9, "ROCm's MI250 page: 50 GB/s each; 4 of a die's 8 links lead out of the module"),
    "AMD Instinct MI300X": Link(448e9, "MI300X platform data sheet: 7 links of 128 GB/s both ways"),
    "AMD Instinct MI325X": Link(448e9, "MI325X platform data sheet: as MI300X"),
    "AMD Instinct MI355X": Link(537.6e9, "CDNA 4 white paper: 7 links of 153.6 GB/s both ways"),
    "NVIDIA H100 SXM": Link(450e9, "H100 data sheet: NVLink 900 GB/s both ways"),
    "NVIDIA H100 PCIe": Link(64e9, "H100 data sheet: PCIe 5 128 GB/s both ways; bridges between two are left out"),
    "NVIDIA H200": Link(450e9, "NVIDIA's systems in MLPerf Inference 4.1: 18 NVLink 4, 900 GB/s both ways"),
    "NVIDIA B200": Link(900e9, "DGX B200 data sheet: 14.4 TB/s of NVLink both ways among 8"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """What time is reckoned with."""

    flops: float
    """Per second of one accelerator, in training."""

    inside: float
    """Bytes per second of one accelerator, to others of its node."""

    network: float
    source: str
    """Where the three come from, for the output."""


def accelerator_of(name: str) -> Accelerator:
    """The accelerator that a user named; UsageError with the nearest names."""
    found = named(name)
    if found is None:
        names = [row.name.split(maxsplit=1)[1].removeprefix("Instinct ") for row in accelerators()]
        kinds = [each for each in names if name and each.lower().startswith(name.lower())]
        hint = f" Did you mean {' or '.join(kinds)}?" if kinds else did_you_mean(name, names)
        raise UsageError(f"--accelerator {name}: unknown accelerator.{hint} Known are {', '.join(names)}.")
    return found


def assumed(accelerator: Accelerator, precision: Precision, efficiency: float | None = None) -> Rates:
    """Shares of the peaks."""
    share = EFFICIENCY if efficiency is None else efficiency
    peak = accelerator.peak(precision)
    if peak is None:
        raise UsageError(f"{accelerator.name} has no units for {precision}; it has {', '.join(accelerator.tflops)}.")
    link = LINKS[accelerator.name].rate
    return Rates(
        flops=peak * share,
        inside=link * LINK_EFFICIENCY,
        network=NETWORK * LINK_EFFICIENCY,
        source=f"assumed: {share:.0%} of {peak / 1e12:,.0f} TFLOP/s ({precision}), {LINK_EFFICIENCY:.0%} of links of "
        f"{link / 1e9:,.0f} GB/s in a node and {NETWORK / 1e9:,.0f} GB/s between nodes",
    )


def measured(path: Path, precision: Precision, efficiency: float | None = None) -> Rates:
    """Of `primus doctor --json`: GEMM rate by precision, and the bus of an all-reduce within a node and over all."""
    try:
        read = json.loads(path.read_bytes())
    except OSError as error:
        raise MissingError(f"--rates {path}: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"--rates {path}: not JSON: {error}") from None
    gemm = _number(path, read, "gemm_tflops", precision)
    node = _number(path, read, "all_reduce_gb", "node")
    between = _number(path, read, "all_reduce_gb", "all")
    share = EFFICIENCY if efficiency is None else efficiency
    return Rates(
        flops=gemm * 1e12 * share,
        inside=node * 1e9,
        network=between * 1e9,
        source=f"measured ({path}): {node:,.0f} GB/s in a node, {between:,.0f} GB/s between nodes, "
        f"and {share:.0%} (assumed) of {gemm:,.0f} TFLOP/s ({precision})",
    )


def _number(path: Path, read: Any, *keys: str) -> float:
    """`rates` of the report, a positive number of it."""
    value = read.get("rates") if isinstance(read, dict) else None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        name = ".".join(("rates", *keys))
        raise UsageError(f"--rates {path}: expected a positive number {name}, as `primus doctor --json` writes it.")
    return float(value)

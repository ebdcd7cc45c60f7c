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

LINK_EFFICIENCY = 0.8
"""Part of a link's peak that collectives reach. Assumed."""

NETWORK = 50e9
"""Bytes per second of the network for each accelerator, one way: one 400 Gbit/s port. Assumed."""

LINKS = {
    "AMD Instinct MI250X": 200e9,
    "AMD Instinct MI300X": 448e9,
    "AMD Instinct MI325X": 448e9,
    "AMD Instinct MI355X": 537.6e9,
    "NVIDIA H100 SXM": 450e9,
    "NVIDIA H100 PCIe": 64e9,
    "NVIDIA H200": 450e9,
    "NVIDIA B200": 900e9,
}
"""Bytes per second inside a node, one way, from the data sheets: all links of one accelerator together."""


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
        hint = did_you_mean(name, names)
        raise UsageError(f"--accelerator {name}: unknown accelerator.{hint} Known are {', '.join(names)}.")
    return found


def assumed(accelerator: Accelerator, precision: Precision, efficiency: float | None = None) -> Rates:
    """Shares of the peaks."""
    share = EFFICIENCY if efficiency is None else efficiency
    peak = accelerator.peak(precision)
    if peak is None:
        raise UsageError(f"{accelerator.name} has no units for {precision}; it has {', '.join(accelerator.tflops)}.")
    return Rates(
        flops=peak * share,
        inside=LINKS[accelerator.name] * LINK_EFFICIENCY,
        network=NETWORK * LINK_EFFICIENCY,
        source=f"assumed: {share:.0%} of {peak / 1e12:,.0f} TFLOP/s ({precision}), {LINK_EFFICIENCY:.0%} of links of "
        f"{LINKS[accelerator.name] / 1e9:,.0f} GB/s in a node and {NETWORK / 1e9:,.0f} GB/s between nodes",
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

"""The vendors' tools: how each is asked, and its answer as one dictionary for each GPU, names as in host_gpus.py. Pure
but for the tables; host_gpus.py runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A command, and what reads its output."""

    argv: tuple[str, ...]
    parse: Callable[[str], list[dict[str, Any]]]


_NVIDIA = {
    "index": "index",
    "pci.bus_id": "address",
    "name": "model",
    "temperature.gpu": "temperature_c",
    "temperature.memory": "memory_temperature_c",
    "clocks.current.sm": "clock_mhz",
    "clocks.max.sm": "best_clock_mhz",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "ecc.errors.uncorrected.volatile.total": "ecc_uncorrected",
    "ecc.errors.corrected.volatile.total": "ecc_corrected",
    "clocks_throttle_reasons.active": "throttled",
    "memory.used": "memory_used_gib",
    "memory.total": "memory_gib",
    "ecc.mode.current": "ecc",
}
"""Our name of each field of nvidia-smi's; memory in MiB."""

_NVIDIA_THROTTLES = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits that mean trouble; idle, chosen clocks and the power cap do not."""

_AMD: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "temperature_c": (("temperature", "hotspot"), ("temperature", "edge")),
    "memory_temperature_c": (("temperature", "mem"),),
    "power_w": (("power", "socket_power"), ("power", "average_socket_power")),
    "clock_mhz": (("clock", "gfx_0", "clk"), ("clock", "GFX_0", "clk")),
    "best_clock_mhz": (("clock", "gfx_0", "max_clk"), ("clock", "GFX_0", "max_clk")),
    "ecc_uncorrected": (("ecc", "total_uncorrectable_count"),),
    "ecc_corrected": (("ecc", "total_correctable_count"),),
}
"""Where amd-smi keeps each; places differ between its versions."""

_ROCM = {
    "temperature_c": "Temperature (Sensor junction) (C)",
    "memory_temperature_c": "Temperature (Sensor memory) (C)",
    "power_w": "Current Socket Graphics Package Power (W)",
    "power_limit_w": "Max Graphics Package Power (W)",
    "clock_mhz": "sclk clock speed:",
    "address": "PCI Bus",
}


def _parse_nvidia(text: str) -> list[dict[str, Any]]:
    """Lines of comma-separated values; `[N/A]` and the like for what a device does not have."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_NVIDIA):
            continue
        gpu: dict[str, Any] = {}
        for name, cell in zip(_NVIDIA.values(), cells, strict=True):
            if name in ("address", "model", "ecc"):
                gpu[name] = cell
            elif name == "throttled":
                gpu[name] = _throttles(cell)
            elif (number := _number(cell)) is not None:
                gpu[name] = round(number / 1024, 2) if name.startswith("memory_") and name.endswith("gib") else number
        if "index" in gpu:
            gpus.append({**gpu, "index": int(gpu["index"])})
    return gpus


def _throttles(cell: str) -> str:
    try:
        bits = int(cell, 16)
    except ValueError:
        return ""
    return ", ".join(reason for bit, reason in _NVIDIA_THROTTLES.items() if bits & bit)


def _parse_amd(text: str) -> list[dict[str, Any]]:
    """A list of GPUs, or an object that holds it; a warning may come before."""
    data = _json_in(text)
    rows = data.get("gpu_data", []) if isinstance(data, dict) else data
    gpus = []
    for row in rows if isinstance(rows, list) else []:
        gpu: dict[str, Any] = {"index": int(row["gpu"])}
        for name, places in _AMD.items():
            found = [value for place in places if (value := _number(_at(row, place))) is not None]
            if found:
                gpu[name] = found[0]
        status = _at(row, ("power", "throttle_status"))
        gpu["throttled"] = "" if status in (None, "N/A", "UNTHROTTLED") else str(status).lower()
        gpus.append(gpu)
    return gpus


def _parse_rocm(text: str) -> list[dict[str, Any]]:
    data = _json_in(text)
    gpus = []
    for card, row in data.items() if isinstance(data, dict) else ():
        if not re.fullmatch(r"card\d+", card):
            continue
        gpu: dict[str, Any] = {"index": int(card[4:])}
        for name, key in _ROCM.items():
            if name == "address" and key in row:
                gpu[name] = row[key]
            elif (number := _number(row.get(key))) is not None:
                gpu[name] = number
        gpus.append(gpu)
    return gpus


def _json_in(text: str) -> Any:
    """The JSON in a text that may begin with other lines."""
    begin = re.search(r"^[\[{]", text, re.MULTILINE)
    try:
        return json.loads(text[begin.start() :]) if begin else None
    except ValueError:
        return None


def _at(row: Any, place: tuple[str, ...]) -> Any:
    for name in place:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _number(value: Any) -> float | None:
    """Of `{"value": 35, "unit": "C"}`, `35`, `"35.0"` or `"(132Mhz)"`."""
    if isinstance(value, dict):
        return _number(value.get("value"))
    found = re.fullmatch(r"\(?(-?\d+(?:\.\d+)?)(?:Mhz\))?", str(value))
    return float(found[1]) if found else None


AMD_SMI = Tool(argv=("amd-smi", "metric", "--json"), parse=_parse_amd)
ROCM_SMI = Tool(
    argv=("rocm-smi", "--showtemp", "--showpower", "--showmaxpower", "--showclocks", "--showbus", "--json"),
    parse=_parse_rocm,
)
NVIDIA_SMI = Tool(
    argv=("nvidia-smi", f"--query-gpu={','.join(_NVIDIA)}", "--format=csv,noheader,nounits"), parse=_parse_nvidia
)

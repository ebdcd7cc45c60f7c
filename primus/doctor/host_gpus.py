"""Health of each GPU: clocks, temperature, power, ECC errors, throttling, link, from the kernel's drivers and, where a
vendor's tool is installed, from that. host.py calls it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.doctor.host_system import read
from primus.doctor.smi import AMD_SMI, NVIDIA_SMI, ROCM_SMI, Tool
from primus.launch.devices import Accelerators

_TOOLS: Mapping[str, tuple[Tool, ...]] = {"amd": (AMD_SMI, ROCM_SMI), "nvidia": (NVIDIA_SMI,), "cpu": ()}
_TOOL_SECONDS = 15.0


def gpu_facts(accelerators: Accelerators, environ: Mapping[str, str], root: Path) -> dict[str, Any]:
    """Kind, number and evidence, one dictionary for each GPU, and the tool that was asked."""
    gpus = [{"index": index, **_from_kernel(address, root)} for index, address in enumerate(accelerators.addresses)]
    told, tool, trouble = _ask(_TOOLS[accelerators.kind], environ)
    for each in told:
        same = [gpu for gpu in gpus if _same(gpu, each)]
        if same:
            same[0].update({name: value for name, value in each.items() if name not in ("index", "address")})
        else:
            gpus.append(each)
    return {
        "kind": accelerators.kind,
        "count": accelerators.count,
        "model": accelerators.model,
        "evidence": accelerators.evidence,
        "tool": tool,
        "tool_trouble": trouble,
        "gpus": gpus,
    }


def _same(gpu: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    if "address" in gpu and "address" in told:
        return str(gpu["address"]).lower()[-10:] == str(told["address"]).lower()[-10:]
    return bool(gpu["index"] == told["index"])


def _ask(tools: tuple[Tool, ...], environ: Mapping[str, str]) -> tuple[list[dict[str, Any]], str | None, str]:
    """What the first tool says that is installed and works, which it is, and the trouble with those before it."""
    trouble = ""
    for tool in tools:
        program = shutil.which(tool.argv[0], path=environ.get("PATH", ""))
        if program is None:
            continue
        try:
            done = subprocess.run(
                [program, *tool.argv[1:]], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:  # a GPU that hangs; another tool would as well
            return [], None, f"{tool.argv[0]} did not answer within {_TOOL_SECONDS:.0f} s"
        gpus = tool.parse(done.stdout)
        if gpus:
            return gpus, tool.argv[0], trouble
        words = (done.stderr or done.stdout).strip().splitlines()[:1]
        trouble = f"{tool.argv[0]}: exit status {done.returncode}{': ' + words[0] if words else ''}"
    return [], None, trouble


def _from_kernel(address: str, root: Path) -> dict[str, Any]:
    """What sysfs says of the device at a PCI address; nvidia's driver shows the link and the NUMA node only."""
    device = root / "sys/bus/pci/devices" / address
    facts: dict[str, Any] = {"address": address}
    link = [read(device / name) for name in ("current_link_speed", "current_link_width")]
    best = [read(device / name) for name in ("max_link_speed", "max_link_width")]
    if all(link):
        facts["link"], facts["best_link"] = (f"{speed.removesuffix(' PCIe')} x{width}" for speed, width in (link, best))
    if read(device / "numa_node"):
        facts["numa"] = int(read(device / "numa_node"))
    clocks = [int(each) for each in re.findall(r"(\d+)Mhz", read(device / "pp_dpm_sclk"), re.IGNORECASE)]
    now = re.search(r"(\d+)Mhz \*", read(device / "pp_dpm_sclk"), re.IGNORECASE)
    if clocks:
        facts["best_clock_mhz"] = max(clocks)
    if now:
        facts["clock_mhz"] = int(now[1])
    for name, file in (("memory_gib", "mem_info_vram_total"), ("memory_used_gib", "mem_info_vram_used")):
        if read(device / file):
            facts[name] = round(int(read(device / file)) / 2**30, 2)
    return facts | _sensors(device) | _errors(device)


def _sensors(device: Path) -> dict[str, float]:
    facts: dict[str, float] = {}
    for folder in device.glob("hwmon/hwmon*"):
        labels = {read(path): read(folder / path.name.replace("label", "input")) for path in folder.glob("temp*_label")}
        for name, label in (("temperature_c", "junction"), ("memory_temperature_c", "mem")):
            if labels.get(label):
                facts[name] = int(labels[label]) / 1e3
        power = read(folder / "power1_input") or read(folder / "power1_average")
        for name, value in (("power_w", power), ("power_limit_w", read(folder / "power1_cap"))):
            if value:
                facts[name] = int(value) / 1e6
    return facts


def _errors(device: Path) -> dict[str, int]:
    """Errors of all memories and units since the driver was loaded."""
    texts = [read(path) for path in (device / "ras").glob("*_err_count")]
    found = [(kind, int(count)) for text in texts for kind, count in re.findall(r"^(ue|ce): (\d+)", text, re.MULTILINE)]
    names = {"ue": "ecc_uncorrected", "ce": "ecc_corrected"}
    return {name: sum(n for each, n in found if each == kind) for kind, name in names.items() if found}

from __future__ import annotations

import json

import pytest

from primus.doctor import host_gpus
from primus.doctor.host_gpus import gpu_facts
from primus.launch.devices import Accelerators

DEVICE = "sys/bus/pci/devices/0000:0c:00.0"
MI300X = {
    f"{DEVICE}/current_link_speed": "32.0 GT/s PCIe",
    f"{DEVICE}/current_link_width": "8",
    f"{DEVICE}/max_link_speed": "32.0 GT/s PCIe",
    f"{DEVICE}/max_link_width": "16",
    f"{DEVICE}/numa_node": "1",
    f"{DEVICE}/pp_dpm_sclk": "0: 500Mhz\n1: 1200Mhz *\n2: 2100Mhz",
    f"{DEVICE}/mem_info_vram_total": str(192 << 30),
    f"{DEVICE}/mem_info_vram_used": str(3 << 29),
    f"{DEVICE}/hwmon/hwmon7/temp1_label": "junction",
    f"{DEVICE}/hwmon/hwmon7/temp1_input": "44000",
    f"{DEVICE}/hwmon/hwmon7/temp2_label": "mem",
    f"{DEVICE}/hwmon/hwmon7/temp2_input": "38000",
    f"{DEVICE}/hwmon/hwmon7/power1_input": "158000000",
    f"{DEVICE}/hwmon/hwmon7/power1_cap": "750000000",
    f"{DEVICE}/ras/umc_err_count": "ue: 1\nce: 4",
    f"{DEVICE}/ras/gfx_err_count": "ue: 0\nce: 2",
}
ONE = Accelerators(kind="amd", count=1, model="gfx942", addresses=("0000:0c:00.0",), evidence="here")


def test_the_kernel_says_how_an_amd_gpu_stands(machine):
    facts = gpu_facts(ONE, {"PATH": ""}, machine(MI300X))
    assert facts["gpus"] == [
        {
            "index": 0,
            "address": "0000:0c:00.0",
            "link": "32.0 GT/s x8",
            "best_link": "32.0 GT/s x16",
            "numa": 1,
            "best_clock_mhz": 2100,
            "clock_mhz": 1200,
            "memory_gib": 192,
            "memory_used_gib": 1.5,
            "temperature_c": 44,
            "memory_temperature_c": 38,
            "power_w": 158,
            "power_limit_w": 750,
            "ecc_uncorrected": 1,
            "ecc_corrected": 6,
        }
    ]
    assert facts["tool"] is None


def test_what_the_vendors_tool_says_is_added(machine, tool):
    gpu = {"gpu": 0, "power": {"throttle_status": "THROTTLED"}, "temperature": {"hotspot": {"value": 99, "unit": "C"}}}
    facts = gpu_facts(ONE, tool("amd-smi", json.dumps({"gpu_data": [gpu]})), machine(MI300X))
    (found,) = facts["gpus"]
    assert (found["temperature_c"], found["throttled"], found["power_w"]) == (99, "throttled", 158)
    assert facts["tool"] == "amd-smi"


def test_the_next_tool_is_asked_when_one_fails_and_the_failure_is_told(machine, tool):
    tool("amd-smi", status=255, words="AMDSMI_STATUS_DRIVER_NOT_LOADED")
    environ = tool("rocm-smi", json.dumps({"card0": {"Temperature (Sensor junction) (C)": "45.0"}}))
    facts = gpu_facts(ONE, environ, machine({}))
    assert facts["tool"] == "rocm-smi"
    assert facts["tool_trouble"] == "amd-smi: exit status 255: AMDSMI_STATUS_DRIVER_NOT_LOADED"
    assert facts["gpus"][0]["temperature_c"] == 45


def test_gpus_of_nvidia_are_matched_by_their_address(machine, tool):
    cells = "01:00.0, NVIDIA H200, 30, 35, 345, 1980, 70, 700, 0, 0, 0x1, 4, 143771, Enabled"
    environ = tool("nvidia-smi", f"1, 00000000:01:00.0, {cells.partition(', ')[2]}\n")
    two = Accelerators(kind="nvidia", count=2, addresses=("0000:00:00.0", "0000:01:00.0"), evidence="here")
    first, second = gpu_facts(two, environ, machine({}))["gpus"]
    assert "model" not in first
    assert second["model"] == "NVIDIA H200"
    assert second["address"] == "0000:01:00.0"


def test_a_tool_that_hangs_is_told_and_not_waited_for(machine, tool, monkeypatch):
    environ = tool("nvidia-smi")
    (tmp := machine({}).parent / "bin/nvidia-smi").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    tmp.chmod(0o755)
    monkeypatch.setattr(host_gpus, "_TOOL_SECONDS", 0.2)
    one = Accelerators(kind="nvidia", count=1, evidence="here")
    assert "did not answer within" in gpu_facts(one, environ, machine({}))["tool_trouble"]


def test_a_machine_without_gpus_asks_no_tool(machine, tool):
    facts = gpu_facts(Accelerators(kind="cpu", count=0, evidence="none"), tool("nvidia-smi", status=9), machine({}))
    assert facts["gpus"] == []
    assert facts["tool_trouble"] == ""


@pytest.mark.parametrize("text", ["", "Unable to determine the device handle"])
def test_a_tool_that_says_nothing_of_gpus_leaves_what_the_kernel_says(machine, tool, text):
    one = Accelerators(kind="nvidia", count=1, addresses=("0000:0c:00.0",), evidence="here")
    facts = gpu_facts(one, tool("nvidia-smi", text, status=15), machine(MI300X))
    assert facts["gpus"][0]["link"] == "32.0 GT/s x8"
    assert facts["tool_trouble"].startswith("nvidia-smi: exit status 15")

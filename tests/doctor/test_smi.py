"""The outputs have the shapes that the tools' versions print, with values that matter."""

from __future__ import annotations

import json

import pytest

from primus.doctor.smi import AMD_SMI, NVIDIA_SMI, ROCM_SMI

H100 = (
    "0, 00000000:18:00.0, NVIDIA H100 80GB HBM3, 34, 41, 345, 1980, 71.92, 700.00, 0, 12, 0x0000000000000001, 2048, "
    "81559, Enabled\n"
    "1, 00000000:2A:00.0, NVIDIA H100 80GB HBM3, 88, [N/A], 345, 1980, 71.92, 700.00, 3, 0, 0x0000000000000048, 4, "
    "81559, Disabled\n"
)
AMD_GPU = {
    "gpu": 0,
    "power": {"socket_power": {"value": 158, "unit": "W"}, "throttle_status": "UNTHROTTLED"},
    "clock": {"gfx_0": {"clk": {"value": 132, "unit": "MHz"}, "max_clk": {"value": 2100, "unit": "MHz"}}},
    "temperature": {"edge": "N/A", "hotspot": {"value": 45, "unit": "C"}, "mem": {"value": 38, "unit": "C"}},
    "ecc": {"total_correctable_count": 5, "total_uncorrectable_count": 0},
}


def test_nvidia_smi_gives_a_row_for_each_gpu():
    first, second = NVIDIA_SMI.parse(H100)
    assert first["index"] == 0
    assert first["address"] == "00000000:18:00.0"
    assert first["ecc_corrected"] == 12
    assert first["throttled"] == ""
    assert first["memory_used_gib"] == 2
    assert first["best_clock_mhz"] == 1980
    assert second["throttled"] == "hardware slowdown, hardware thermal slowdown"
    assert second["ecc"] == "Disabled"
    assert "memory_temperature_c" not in second


def test_an_error_of_nvidia_smi_is_no_gpu():
    assert NVIDIA_SMI.parse("Unable to determine the device handle for GPU0000:18:00.0: Unknown Error\n") == []


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([AMD_GPU]),
        json.dumps({"gpu_data": [AMD_GPU]}),
        "WARNING: User is missing the following required groups: render\n" + json.dumps([AMD_GPU], indent=4),
        json.dumps({"gpu_data": [{**AMD_GPU, "clock": {"GFX_0": AMD_GPU["clock"]["gfx_0"]}}]}),
    ],
    ids=["list", "object", "warned", "clocks in capitals"],
)
def test_amd_smi_is_read_in_the_shapes_of_its_versions(text):
    assert AMD_SMI.parse(text) == [
        {
            "index": 0,
            "temperature_c": 45,
            "memory_temperature_c": 38,
            "power_w": 158,
            "clock_mhz": 132,
            "best_clock_mhz": 2100,
            "ecc_uncorrected": 0,
            "ecc_corrected": 5,
            "throttled": "",
        }
    ]


def test_amd_smi_says_that_a_gpu_is_throttled():
    gpu = {**AMD_GPU, "power": {"throttle_status": "THROTTLED"}}
    assert AMD_SMI.parse(json.dumps([gpu]))[0]["throttled"] == "throttled"


def test_rocm_smi_is_read():
    card = {
        "Temperature (Sensor junction) (C)": "45.0",
        "Temperature (Sensor memory) (C)": "38.0",
        "Max Graphics Package Power (W)": "750.0",
        "Current Socket Graphics Package Power (W)": "159.0",
        "sclk clock speed:": "(132Mhz)",
        "PCI Bus": "0000:0C:00.0",
    }
    assert ROCM_SMI.parse(json.dumps({"card3": card, "system": {"Driver version": "6.12.12"}})) == [
        {
            "index": 3,
            "temperature_c": 45,
            "memory_temperature_c": 38,
            "power_w": 159,
            "power_limit_w": 750,
            "clock_mhz": 132,
            "address": "0000:0C:00.0",
        }
    ]


@pytest.mark.parametrize("tool", [AMD_SMI, ROCM_SMI, NVIDIA_SMI])
@pytest.mark.parametrize("text", ["", "{", "[", "{}", "[]", "null", "no devices found"])
def test_what_makes_no_sense_is_no_gpu(tool, text):
    assert tool.parse(text) == []

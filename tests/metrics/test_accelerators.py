import pytest

from primus.metrics.accelerators import Device, accelerators, find, named


@pytest.mark.parametrize(
    ("name", "units", "expected"),
    [
        ("AMD Instinct MI300X", 304, "AMD Instinct MI300X"),
        ("AMD Instinct MI300X OAM", 304, "AMD Instinct MI300X"),
        ("AMD Instinct MI300X VF", 304, "AMD Instinct MI300X"),
        ("AMD Instinct MI325X", 304, "AMD Instinct MI325X"),
        ("AMD Instinct MI355X", 256, "AMD Instinct MI355X"),
        ("AMD Instinct MI250X", 110, "AMD Instinct MI250X"),
        ("AMD Instinct MI250X/MI250", 110, "AMD Instinct MI250X"),
        ("NVIDIA H100 80GB HBM3", 132, "NVIDIA H100 SXM"),
        ("NVIDIA H100 PCIe", 114, "NVIDIA H100 PCIe"),
        ("NVIDIA H200", 132, "NVIDIA H200"),
        ("NVIDIA B200", 148, "NVIDIA B200"),
    ],
)
def test_devices_are_known_by_the_name_that_pytorch_reports(name, units, expected):
    assert find(Device(name=name, units=units, memory_gib=1)).name == expected


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("NVIDIA GeForce RTX 4090", 128),
        ("NVIDIA H100 NVL", 132),
        ("NVIDIA H200 NVL", 132),
        ("NVIDIA GH200 480GB", 132),
        ("NVIDIA GB200", 148),
        ("AMD Instinct MI350X", 256),
        ("AMD Instinct MI300A", 228),
        ("AMD Instinct MI308X", 80),
    ],
)
def test_a_device_that_is_not_in_the_table_is_not_guessed(name, units):
    assert find(Device(name=name, architecture="gfx942", units=units, memory_gib=80)) is None


@pytest.mark.parametrize(
    ("name", "units"),
    [("AMD Instinct MI300X", 38), ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 16), ("AMD Instinct MI250X/MI250", 104)],
)
def test_a_part_of_an_accelerator_has_not_its_peak(name, units):
    assert find(Device(name=name, units=units, memory_gib=24)) is None


@pytest.mark.parametrize(
    ("architecture", "units", "memory", "expected"),
    [
        ("gfx942:sramecc+:xnack-", 304, 191.98, "AMD Instinct MI300X"),
        ("gfx942:sramecc+:xnack-", 304, 255.98, "AMD Instinct MI325X"),
        ("gfx942:sramecc+:xnack-", 228, 128.0, None),
        ("gfx942", 304, 64.0, None),
        # MI350X and MI355X differ in their clocks only.
        ("gfx950:sramecc+:xnack-", 256, 287.98, None),
    ],
)
def test_a_device_without_a_name_is_told_by_its_architecture_units_and_memory(architecture, units, memory, expected):
    found = find(Device(name="AMD Radeon Graphics", architecture=architecture, units=units, memory_gib=memory))
    assert (found.name if found else None) == expected


def test_every_accelerator_has_a_source_and_plausible_figures():
    for row in accelerators():
        assert row.source
        assert row.peak("bf16") == row.peak("fp16")
        assert row.peak("fp8") in (None, pytest.approx(2 * row.peak("bf16"), rel=1e-3))
        assert row.peak("fp32") < row.peak("bf16")
        assert 1 < row.bandwidth_tb < 10


def test_the_peak_is_in_flops_per_second_and_none_where_there_is_none():
    mi300x = named("MI300X")
    assert mi300x.peak("bf16") == 1307.4e12
    assert named("MI250X").peak("fp8") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mi300x", "AMD Instinct MI300X"),
        ("H100 SXM", "NVIDIA H100 SXM"),
        ("NVIDIA H200", "NVIDIA H200"),
        ("H100", None),
        ("A100", None),
    ],
)
def test_accelerators_are_found_by_the_names_that_people_use(name, expected):
    found = named(name)
    assert (found.name if found else None) == expected

"""What SLURM's values mean."""

from __future__ import annotations

import pytest

from primus.launch.slurm import values


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30),
        ("30:30", 30.5),
        ("2:00:00", 120),
        ("1-0", 1440),
        ("1-2:30", 1590),
        ("2-00:00:00", 2880),
        ("infinite", None),
        ("UNLIMITED", None),
        ("0", None),
    ],
)
def test_a_time_in_each_of_its_forms(text, minutes):
    assert values.is_time(text) is None
    assert values.minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "2h", "1:2:3:4", "-5", "1-", "4 hours", "1.5"])
def test_what_is_no_time_says_what_is_expected(text):
    assert "days-hours" in values.is_time(text)


@pytest.mark.parametrize(
    ("text", "size"), [("1024", 1024), ("64G", 65536), ("64GB", 65536), ("1t", 2**20), ("512K", 0.5)]
)
def test_memory_in_each_of_its_units(text, size):
    assert values.is_memory(text) is None
    assert values.megabytes(text) == size


@pytest.mark.parametrize("text", ["", "64 G", "lots", "1.5G", "G"])
def test_what_is_no_memory_says_what_is_expected(text):
    assert "64G" in values.is_memory(text)


@pytest.mark.parametrize(
    ("gres", "count"),
    [
        ("gpu:8", 8),
        ("gpu:mi300x:8(S:0-1)", 8),
        ("gpu:a:4(IDX:0,2),gpu:b:2,nvme:1", 6),
        ("gpu", 1),
        ("gres/gpu:4", 4),
        ("nvme:1", 0),
        ("", 0),
    ],
)
def test_gpus_among_the_resources(gres, count):
    assert values.gpus(gres) == count


@pytest.mark.parametrize("text", ["gpu:8", "gpu", "gpu:mi300x:8", "gpu:2,nvme:1", "lustre"])
def test_resources_are_accepted(text):
    assert values.is_gres(text) is None


@pytest.mark.parametrize("text", ["", "8", "gpu:8 ", "gpu;rm", "gpu:a:b:c"])
def test_what_is_no_resource_is_refused(text):
    assert values.is_gres(text)


@pytest.mark.parametrize(
    "text",
    [
        "afterok:1",
        "afterany:12:13",
        "after:5+10",
        "singleton",
        "afterok:1,afterany:2",
        "afterok:1?afterok:2",
        "aftercorr:3_4",
    ],
)
def test_dependencies_are_accepted(text):
    assert values.is_dependency(text) is None


@pytest.mark.parametrize("text", ["", "1", "afterok", "afterok:", "afterwards:1", "afterok:x"])
def test_what_is_no_dependency_is_refused(text):
    assert "afterok:123" in values.is_dependency(text)

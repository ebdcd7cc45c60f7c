from __future__ import annotations

import threading
from pathlib import Path

import pytest

from primus.doctor import host
from primus.doctor.finding import worst
from primus.doctor.host import Check, Place, examine_host
from primus.doctor.host_disk import folder_facts
from primus.doctor.host_network import name_facts, network_facts
from primus.doctor.host_software import software_facts, torch_facts
from primus.doctor.host_system import limit_facts, memory_facts, system_facts
from primus.doctor.rules import host_findings
from primus.launch.devices import Accelerators

CPU = Accelerators(kind="cpu", count=0, evidence="none")
PLACE = Place(environ={}, accelerators=CPU, folders={})


def test_a_check_that_hangs_is_named_and_the_next_one_is_made():
    forever = threading.Event()
    checks = {
        "folders": Check(look=lambda place: forever.wait(), seconds=0.05),
        "names": Check(look=lambda place: {"host": 1}, seconds=5),
    }
    facts = examine_host(PLACE, checks)
    forever.set()
    assert facts["hung"] == {"folders": 0.05}
    assert facts["names"] == {"host": 1}
    (finding,) = host_findings({"hung": facts["hung"]}, "node 0")
    assert finding.severity == "error"
    assert "check of folders" in finding.evidence


def test_a_folder_that_fails_does_not_hide_the_others(tmp_path, monkeypatch):
    def look(use, folder, *, full):
        if use == "data":
            raise OSError(116, "Stale file handle")
        return {"use": use}

    monkeypatch.setattr(host, "folder_facts", look)
    place = Place(environ={}, accelerators=CPU, folders={"data": Path("/data"), "run": tmp_path})
    facts = examine_host(place, {})
    assert facts["folders"] == [{"use": "run"}]
    assert facts["failed"] == {"data folder /data": "[Errno 116] Stale file handle"}


def test_what_the_system_refuses_is_told_in_its_words():
    def look(place: Place) -> None:
        raise PermissionError(13, "Permission denied", "/secret")

    facts = examine_host(PLACE, {"folders": Check(look=look, seconds=5)})
    assert facts["failed"] == {"folders": "[Errno 13] Permission denied: '/secret'"}
    assert worst(host_findings(facts, "node 0")) == "error"


def test_settings_of_the_kernel_are_read(machine):
    facts = system_facts(
        machine(
            {
                "sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]",
                "proc/sys/kernel/numa_balancing": "1",
                "sys/devices/system/node/node0/cpulist": "0-47",
                "sys/devices/system/node/node1/cpulist": "48-95",
                "sys/class/iommu/dmar0/name": "",
                "proc/cmdline": "root=/dev/sda",
            }
        )
    )
    assert facts["transparent_hugepages"] == "never"
    assert facts["numa_balancing"] == "1"
    assert facts["numa"] == {"0": "0-47", "1": "48-95"}
    assert facts["iommu"] == "translates"


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, "off"),
        ({"sys/class/iommu/dmar0/name": "", "proc/cmdline": "quiet iommu=pt"}, "passthrough"),
        ({"sys/class/iommu/dmar0/name": "", "sys/kernel/iommu_groups/0/type": "identity"}, "passthrough"),
        ({"sys/class/iommu/dmar0/name": "", "sys/kernel/iommu_groups/0/type": "DMA-FQ"}, "translates"),
    ],
)
def test_the_iommu_is_judged(machine, files, state):
    assert system_facts(machine(files))["iommu"] == state


def test_memory_and_its_limits_are_read(machine):
    meminfo = "MemTotal: 1048576 kB\nMemAvailable: 524288 kB\nSwapTotal: 2097152 kB\nSwapFree: 1048576 kB"
    root = machine({"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "1000000"})
    assert memory_facts(root) == {"total_gib": 1, "available_gib": 0.5, "swap_gib": 2, "swap_used_gib": 1}
    assert limit_facts(root)["cgroup_memory"] == "1000000"


def test_a_folder_is_measured_and_left_as_it_was(tmp_path):
    facts = folder_facts("run", tmp_path / "not" / "there", full=False)
    assert not facts["exists"]
    assert facts["path"] == str(tmp_path / "not/there")
    assert facts["write_mb"] > 0
    assert facts["read_mb"] > 0
    assert facts["sync_ms"] >= 0
    assert facts["file_system"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_not_measured():
    facts = folder_facts("data", Path("/proc"), full=False)
    assert "write_mb" not in facts


def test_data_that_is_not_there_is_not_looked_for_elsewhere(tmp_path):
    assert "write_mb" not in folder_facts("data", tmp_path / "missing", full=False)


def test_names_resolve_or_say_why_not():
    assert name_facts("127.0.0.1")["node 0"]["addresses"] == ["127.0.0.1"]
    assert name_facts("no.such.host.invalid")["node 0"]["error"]


def test_interfaces_and_ports_are_read(machine):
    port = "sys/class/infiniband/mlx5_0/ports/1"
    facts = network_facts(
        CPU,
        None,
        machine(
            {
                "sys/class/net/eth0/operstate": "up",
                "sys/class/net/eth0/mtu": "9000",
                "sys/class/net/eth0/speed": "100000",
                "sys/class/net/eth0/statistics/rx_errors": "7",
                "sys/class/infiniband/mlx5_0/node_type": "1: CA",
                "sys/class/infiniband/mlx5_0/fw_ver": "28.39.2048",
                f"{port}/link_layer": "Ethernet",
                f"{port}/state": "1: DOWN",
                f"{port}/phys_state": "3: Disabled",
                f"{port}/rate": "400 Gb/sec (4X NDR)",
                f"{port}/counters/link_downed": "2",
            }
        ),
    )
    (interface,) = facts["interfaces"]
    assert (interface["name"], interface["mtu"], interface["speed_mb"], interface["rx_errors"]) == (
        "eth0",
        9000,
        100000,
        7,
    )
    (found,) = facts["ports"]
    assert (found["state"], found["physical"], found["rate_gb"], found["link_downed"]) == ("DOWN", "Disabled", 400, 2)


def test_libraries_are_known_by_their_files(machine):
    facts = software_facts(
        machine(
            {
                "opt/rocm/lib/librccl.so.1": "",
                "opt/rocm/lib/librccl.so.1.0.60404": "",
                "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.8.1"}}',
            }
        )
    )
    assert facts["libraries"] == {"librccl": "1.0.60404", "cuda": "12.8.1"}
    assert "primus" in facts["packages"]


def test_without_torch_the_reason_is_kept(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libamdhip64.so.6: cannot open shared object file')\n")
    facts = torch_facts({"PYTHONPATH": str(tmp_path)})
    assert facts == {"missing": "ImportError: libamdhip64.so.6: cannot open shared object file"}


def test_a_torch_that_ends_the_process_is_told_by_its_status(tmp_path):
    (tmp_path / "torch.py").write_text("import os; print(os.environ['X']); raise SystemExit(3)\n")
    assert torch_facts({"PYTHONPATH": str(tmp_path), "X": "y"}) == {"missing": "exit status 3"}


def test_a_torch_that_takes_too_long_to_import_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("primus.doctor.host_software._TORCH_SECONDS", 0.2)
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)\n")
    assert torch_facts({"PYTHONPATH": str(tmp_path)}) == {"missing": "`import torch` did not end within 0 s"}

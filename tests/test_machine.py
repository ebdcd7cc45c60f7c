"""What is read of a machine."""

from __future__ import annotations

import socket

from primus.machine import machine_facts


def test_the_versions_of_the_drivers_are_read_where_they_stand(tmp_path):
    files = {
        "sys/module/amdgpu/version": "6.10.5\n",
        "opt/rocm/.info/version": "6.3.4-76\n",
        "proc/driver/nvidia/version": (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs)  Mon Jan\n"
            "GCC version:  gcc version 12.3.0\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine_facts(tmp_path)["drivers"] == {"amdgpu": "6.10.5", "rocm": "6.3.4-76", "nvidia": "570.86.15"}


def test_a_machine_without_accelerators_has_no_drivers_of_theirs(tmp_path):
    facts = machine_facts(tmp_path)
    assert facts["drivers"] == {}
    assert facts["host"] == socket.gethostname()
    assert facts["processors"] >= 1

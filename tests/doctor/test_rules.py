from __future__ import annotations

from typing import Any

import pytest

from primus.doctor.rules import RULES, host_findings

GPU = {
    "index": 2,
    "address": "0000:0c:00.0",
    "ecc_uncorrected": 0,
    "ecc_corrected": 0,
    "throttled": "",
    "link": "2.5 GT/s x16",
    "best_link": "32.0 GT/s x16",
    "memory_gib": 192.0,
    "memory_used_gib": 0.3,
    "ecc": "Enabled",
}
PORT = {
    "name": "mlx5_0:1",
    "state": "ACTIVE",
    "physical": "LinkUp",
    "link": "roce",
    "hardware": True,
    "gids": [3],
    "mtu": [9000],
    "link_downed": 0,
}
FOLDER = {
    "use": "run",
    "path": "output",
    "exists": True,
    "free_gib": 900.0,
    "total_gib": 1000.0,
    "free_files": None,
    "writable": True,
}
HEALTHY: dict[str, Any] = {
    "system": {"numa": {"0": "0-47", "1": "48-95"}, "numa_balancing": "0", "iommu": "passthrough"}
    | {"transparent_hugepages": "madvise", "governor": "performance"},
    "limits": {"memlock": [None, None], "nofile": [1024, 1048576], "nproc": [None, None]},
    "memory": {"total_gib": 2000.0, "available_gib": 1900.0, "swap_used_gib": 0.0, "shared_gib": 1000.0},
    "gpus": {"count": 8, "gpus": [GPU], "tool_trouble": ""},
    "network": {"ports": [PORT], "chosen": {"warnings": []}},
    "names": {"host": {"name": "gpu-17", "addresses": ["10.0.0.17"], "seconds": 0.001}},
    "folders": [FOLDER],
    "torch": {"version": "2.8.0", "devices": 8, "seconds": 4.0},
}


def with_fact(*path: Any) -> dict[str, Any]:
    """HEALTHY, but the last value in the place that the others name; a dictionary there is updated."""
    *names, last, value = path
    facts: dict[str, Any] = {**HEALTHY}
    inner = facts
    for name in names:
        inner[name] = {**inner[name]}
        inner = inner[name]
    inner[last] = value
    return facts


CASES = {
    "hangs": ("hung", {"folders": 30}),
    "refused": ("failed", {"folders": "[Errno 5] Input/output error"}),
    "ecc-uncorrected": ("gpus", "gpus", [{**GPU, "ecc_uncorrected": 2}]),
    "ecc-corrected": ("gpus", "gpus", [{**GPU, "ecc_corrected": 2}]),
    "ecc-off": ("gpus", "gpus", [{**GPU, "ecc": "Disabled"}]),
    "throttled": ("gpus", "gpus", [{**GPU, "throttled": "hardware thermal slowdown"}]),
    "pcie-link": ("gpus", "gpus", [{**GPU, "link": "32.0 GT/s x8"}]),
    "gpu-in-use": ("gpus", "gpus", [{**GPU, "memory_used_gib": 100.0}]),
    "gpu-tool": ("gpus", "tool_trouble", "amd-smi did not answer within 15 s"),
    "torch-gpus": ("torch", "devices", 0),
    "no-torch": ("torch", {"missing": "ModuleNotFoundError: No module named 'torch'"}),
    "memlock": ("limits", "memlock", [65536, 65536]),
    "open-files": ("limits", "nofile", [1024, 4096]),
    "processes": ("limits", "nproc", [1024, 1024]),
    "shared-memory": ("memory", "shared_gib", 0.06),
    "swap": ("memory", "swap_used_gib", 12.0),
    "memory": ("memory", "available_gib", 3.0),
    "numa-balancing": ("system", "numa_balancing", "1"),
    "iommu": ("system", "iommu", "translates"),
    "huge-pages": ("system", "transparent_hugepages", "never"),
    "governor": ("system", "governor", "powersave"),
    "space": ("folders", [{**FOLDER, "free_gib": 4.0}]),
    "files": ("folders", [{**FOLDER, "free_files": 12}]),
    "not-writable": ("folders", [{**FOLDER, "writable": False}]),
    "no-data": ("folders", [{**FOLDER, "use": "data", "exists": False}]),
    "own-name": ("names", "host", {"name": "gpu-17", "error": "unknown", "seconds": 0.1}),
    "name-of-node-0": ("names", "node 0", {"name": "node0", "error": "unknown", "seconds": 0.1}),
    "slow-names": ("names", "host", {"name": "gpu-17", "addresses": ["10.0.0.17"], "seconds": 5.0}),
    "rdma-down": ("network", "ports", [{**PORT, "state": "DOWN", "physical": "Disabled"}]),
    "rdma-address": ("network", "ports", [{**PORT, "gids": []}]),
    "rdma-unsteady": ("network", "ports", [{**PORT, "link_downed": 3}]),
    "rdma-mtu": ("network", "ports", [PORT, {**PORT, "name": "mlx5_1:1", "mtu": [1500]}]),
    "network": ("network", "chosen", {"warnings": ["can't tell which RDMA ports are the training fabric's"]}),
}
"""What is wrong in the facts for each rule."""


def test_a_healthy_node_has_no_findings():
    assert list(host_findings(HEALTHY, "node 0")) == []


def test_every_rule_has_a_case():
    assert CASES.keys() == {rule.name for rule in RULES}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_what_it_is_for_and_no_other_does(name):
    (finding,) = host_findings(with_fact(*CASES[name]), "node 1 (gpu-17)")
    assert finding.name == name
    assert finding.where == "node 1 (gpu-17)"
    assert finding.evidence
    assert finding.remedy


def test_nothing_known_is_no_finding():
    assert list(host_findings({}, "node 0")) == []


def test_a_link_that_is_slow_at_rest_is_fine():
    assert list(host_findings(with_fact("gpus", "gpus", [{**GPU, "link": "2.5 GT/s x16"}]), "node 0")) == []


def test_limits_of_locked_memory_do_not_matter_without_rdma():
    facts = {**HEALTHY, "limits": {"memlock": [65536, 65536]}, "network": {"ports": []}}
    assert list(host_findings(facts, "node 0")) == []

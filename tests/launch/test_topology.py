"""From options and devices to resources."""

from __future__ import annotations

import os

import pytest

from primus.errors import MissingError, UsageError
from primus.launch.devices import Accelerators
from primus.launch.topology import plan_resources

CPU = Accelerators(kind="cpu", count=0, evidence="nothing found")
EIGHT = Accelerators(kind="amd", count=8, evidence="/sys/class/kfd")


def plan(accelerators=CPU, **options):
    defaults = {"nnodes": 1, "node_rank": 0, "nproc_per_node": None, "master_addr": None, "master_port": None}
    return plan_resources(**{**defaults, **options}, accelerators=accelerators)


def test_a_cpu_gets_one_process():
    assert plan().nproc_per_node == 1


def test_every_gpu_gets_a_process():
    resources = plan(EIGHT)
    assert (resources.nproc_per_node, resources.accelerator) == (8, "amd")


def test_a_number_that_was_asked_for_wins():
    assert plan(EIGHT, nproc_per_node=2).nproc_per_node == 2
    assert plan(CPU, nproc_per_node=4).nproc_per_node == 4


def test_more_processes_than_gpus_are_refused_with_the_evidence():
    with pytest.raises(MissingError, match=r"--nproc-per-node 9: this machine has 8 amd GPUs .*/sys/class/kfd"):
        plan(EIGHT, nproc_per_node=9)


def test_many_more_processes_than_cpus_are_refused(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    assert plan(CPU, nproc_per_node=64).nproc_per_node == 64
    with pytest.raises(MissingError, match=r"--nproc-per-node 5000: .* no GPU, and 2 CPUs take 64 workers at most"):
        plan(CPU, nproc_per_node=5000)


@pytest.mark.parametrize(("nnodes", "said"), [(1, "there is one node"), (4, "count from 0 to 3")])
def test_a_node_rank_out_of_range_is_refused(nnodes, said):
    with pytest.raises(UsageError, match=rf"--node-rank 4: .*{said}"):
        plan(nnodes=nnodes, node_rank=4, master_addr="a", master_port=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "2 nodes need --master-addr and --master-port"),
        ({"master_addr": "a"}, "2 nodes need --master-port:"),
        ({"master_port": 1}, "2 nodes need --master-addr:"),
    ],
)
def test_several_nodes_never_fall_back_on_localhost_or_a_fixed_port(options, said):
    with pytest.raises(UsageError, match=said):
        plan(nnodes=2, **options)

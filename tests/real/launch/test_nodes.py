"""Two nodes on one machine: two launchers that meet at a loopback address of their own."""

from __future__ import annotations

import random
import socket

import pytest

pytestmark = pytest.mark.real


@pytest.fixture
def nodes():
    """The resources of each of two nodes; their port is below those that the kernel gives to others meanwhile."""
    port = next(port for port in random.sample(range(20_000, 32_000), 100) if is_free(port))
    common = {"nnodes": 2, "nproc_per_node": 1, "master_addr": "127.0.0.2", "master_port": port}
    return [{**common, "node_rank": rank} for rank in (0, 1)]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_two_nodes_form_one_job_with_the_ranks_that_they_were_given(launch, tmp_path, nodes):
    runs = [launch("show_place", run_dir=tmp_path / "run", resources=node) for node in reversed(nodes)]
    assert [run.finish()[0] for run in runs] == [0, 0]
    for rank in (0, 1):
        log = runs[0].log(rank=rank, node=rank)
        assert f"RANK={rank}\nWORLD_SIZE=2\nLOCAL_RANK=0\nGROUP_RANK={rank}\n" in log
    assert runs[0].status()["state"] == "succeeded"


def test_a_failure_is_the_exit_status_of_its_node(launch, tmp_path, nodes):
    runs = [launch("die:1", run_dir=tmp_path / "run", resources=node) for node in nodes]
    status, _, err = runs[1].finish()
    assert "Training failed: rank 1 on node 1" in err
    assert status == 137

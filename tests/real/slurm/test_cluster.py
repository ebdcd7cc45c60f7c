"""The cluster of the tests itself: it is what the other tests take it for, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster import Cluster

pytestmark = pytest.mark.real

HERE = Path(__file__).parent


def test_nodes_are_machines_with_names_of_their_own(cluster: Cluster) -> None:
    done = cluster.run("srun", "-N4", "hostname")
    assert sorted(done.stdout.split()) == ["n1", "n2", "n3", "n4"]


def test_gpus_are_given_out(cluster: Cluster) -> None:
    done = cluster.run("srun", "-N1", "--gpus-per-node=3", "sh", "-c", "echo $SLURM_GPUS_ON_NODE $ROCR_VISIBLE_DEVICES")
    assert done.stdout.split() == ["3", "0,1,2"]


def test_a_crashed_node_is_lost_with_its_tasks_and_comes_back(cluster: Cluster, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    script = f"while true; do date +%N > {alive}; sleep 0.05; done"
    cluster.run("sbatch", "-w", "n2", "-o", os.devnull, "--no-requeue", "--wrap", script)
    cluster.wait_for(alive.exists, "the job to start")
    cluster.crash("n2", noticed=True)
    last = alive.read_text()
    time.sleep(0.2)
    assert alive.read_text() == last
    cluster.restart("n2")
    assert cluster.run("srun", "-w", "n2", "hostname").stdout == "n2\n"


def test_two_clusters_run_side_by_side(cluster: Cluster, tmp_path: Path) -> None:
    other = Cluster(tmp_path, nodes=2)
    try:
        assert other.run("srun", "hostname").stdout == "n1\n"
        assert cluster.run("srun", "-w", "n4", "hostname").stdout == "n4\n"
    finally:
        other.stop()


START = """
import sys, time
from pathlib import Path
from cluster import Cluster
cluster = Cluster(Path(sys.argv[1]), nodes=2)
cluster.run("sbatch", "-N2", "-o", "/dev/null", "--wrap", "srun sleep 600")
cluster.wait_for(lambda: cluster.job_state("1") == "RUNNING", "the job")
print("up", flush=True)
time.sleep(600)
"""


def test_nothing_stays_when_the_tests_are_killed(slurm: Cluster, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    with subprocess.Popen(
        [sys.executable, "-c", START, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == "up\n"
        assert processes_of(tmp_path)
        tests.send_signal(signal.SIGKILL)
    slurm.wait_for(lambda: not processes_of(tmp_path), "the end of all processes")


def processes_of(folder: Path) -> list[str]:
    """Command lines of all processes that have to do with a cluster in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has just ended, or is not ours
            continue
    return [line for line in found if line]

"""Three nodes with networks of their own, on one machine: what they find, and whether they meet."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

POSSIBLE = (
    shutil.which("unshare")
    and shutil.which("ip")
    and not subprocess.run(["unshare", "--user", "--map-root-user", "--net", "--mount", "true"], check=False).returncode
)
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not POSSIBLE, reason="needs unshare and ip, and the right to make namespaces"),
]

MEET = """
import sys
from primus.job import Resources
from primus.launch.devices import Accelerators
from primus.launch.network import find_network
from primus.launch.address import check_address
from primus.launch.attempt import Agreed
from primus.launch.rendezvous import agree

address, timeout, node = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
resources = Resources(nnodes=3, node_rank=node, master_addr=address, master_port=2222)
found = find_network(
    address=check_address(resources), accelerators=Accelerators(kind="cpu", count=0, evidence="")
)
agreed, link = agree(
    resources, digest="same", decide=lambda: Agreed(run_id=f"run-of-{node}"), timeout=timeout
)
run = agreed.run_id
sys.stdout.write(f"{node} {found.interface} {run}\\n")  # in one piece: all nodes write to the same pipe
"""


def meet(address: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", MEET, address, str(timeout)]
    return subprocess.run(
        ["sh", str(HERE / "namespaces.sh"), *program], capture_output=True, text=True, timeout=60, check=False
    )


def test_nodes_find_the_interface_between_them_and_meet():
    done = meet("10.77.0.10")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"{node} fabric run-of-0" for node in range(3)]


def test_a_wrong_node_rank_is_known_at_once():
    done = meet("10.77.0.12", timeout=1.0)  # node 2's address
    assert "not an address of this machine, which is node 0" in done.stderr


def test_an_address_in_another_network_is_known_at_once():
    done = meet("10.99.0.1")
    assert done.stderr.count("this machine has no route to 10.99.0.1") == 2

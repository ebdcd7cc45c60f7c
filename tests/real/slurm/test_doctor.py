"""`primus doctor` on the nodes of a cluster, as docs/doctor.md says it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import Cluster

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[3] / "docs/doctor.md"


def test_srun_examines_the_nodes_as_the_page_says(desk, cluster: Cluster) -> None:
    (recipe,) = re.findall(r"^```text\n(srun .*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    # All nodes of this cluster are one machine: their names mean a loopback address, which nobody could tell apart.
    recipe = re.sub(r"\$\(scontrol.*?\)", "127.0.1.1", recipe)
    recipe = recipe.replace("primus doctor", f"{sys.executable} -m primus doctor --json --nproc-per-node 1")
    recipe = recipe.replace("--nodes 4", "--nodes 2").replace("srun ", "srun --nodelist n1,n2 ")

    done = subprocess.run(
        ["bash", "-c", recipe], cwd=desk.folder, env=desk.environment, capture_output=True, text=True, check=False
    )

    answer = json.loads(done.stdout)
    assert [node["node"] for node in answer["nodes"]] == [0, 1], done.stderr
    assert [each for each in answer["findings"] if each["severity"] == "error"] == []
    assert answer["rates"]["all_reduce_gb"].keys() == {"all"}
    assert done.returncode == answer["exit_status"]

"""`primus slurm submit --doctor`: the nodes of a cluster examined by one job, as docs/doctor.md says it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import Desk, read

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[3] / "docs/doctor.md"


def test_a_job_examines_its_nodes_as_the_page_says(desk: Desk) -> None:
    (words,) = re.findall(r"^```text\nprimus (slurm submit --doctor .*)\n```", PAGE.read_text(), re.MULTILINE)
    words = words.replace("--nnodes 8", "--nnodes 2").replace("--gpus-per-node 8", "--gpus-per-node 0")

    done = desk.primus(*words.split(), "--nproc-per-node", "1", "--data", "missing", env={"EXP": "toy.yaml"})

    (run,) = (desk.folder / "output/doctor/runs").iterdir()
    answer = read(run / "doctor/report.json")
    assert [node["node"] for node in answer["nodes"]] == [0, 1], done.stderr
    assert answer["rates"]["all_reduce_gb"].keys() == {"all"}
    errors = {each["name"] for each in answer["findings"] if each["severity"] == "error"}
    assert (errors, answer["exit_status"], done.returncode) == ({"no-data"}, 20, 20)
    assert f"Report: {run}/doctor/report.html" in done.stdout
    assert "Something here is broken." in done.stdout
    assert "<title>" in (run / "doctor/report.html").read_text()
    assert "Warning: not used by --doctor: $EXP" in done.stderr
    assert f"has found errors: {run}/doctor/report.html" in done.stderr
    (status,) = json.loads(desk.primus("slurm", "status", "--json").stdout)
    (listed,) = [each for each in json.loads(desk.primus("slurm", "list", "--json").stdout) if each["run"] == str(run)]
    assert listed == status
    assert (status["experiment"], status["state"], status["exit_status"]) == ("doctor", "failed", 20)
    assert "Something here is broken." in desk.primus("slurm", "logs").stdout
    assert "had ended already: has found errors" in desk.primus("slurm", "cancel", str(run)).stdout


def test_a_node_that_hangs_is_named_and_not_waited_for(desk: Desk) -> None:
    (desk.folder / "setup.sh").write_text("export PYTHONPATH=$PWD/broken:$PYTHONPATH\n")
    (desk.folder / "broken").mkdir()
    (desk.folder / "broken/sitecustomize.py").write_text(
        "import os, signal, time\n"
        "if os.environ.get('SLURM_NODEID') == '1':\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    time.sleep(300)\n"
    )

    done = desk.primus(
        *("slurm", "submit", "--doctor", "--nnodes", "2", "--setup", "setup.sh", "--interactive"),
        *("--rendezvous-timeout", "3"),
    )

    assert "ERROR absent: node 1" in done.stdout, done.stderr
    assert "Left out: the measured part: node 1 did not answer" in done.stdout
    assert done.returncode == 20

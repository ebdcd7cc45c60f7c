"""`primus slurm submit --doctor`: the nodes of a cluster examined by one job, as docs/doctor.md says it."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from cluster import Cluster
from conftest import Desk, read

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[3] / "docs/doctor.md"

HANGS = """\
import os, signal, time

if os.environ.get("SLURM_NODEID") == "1":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(300)
"""

Job = tuple[Desk, CompletedProcess[str]]


@pytest.fixture(scope="module")
def jobs(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Job]:
    """Two jobs with two nodes each, side by side: one that finds an error, one with a node that hangs."""
    slurm.clear()
    folder = tmp_path_factory.mktemp("doctor")
    sound, broken = Desk(slurm, folder / "sound"), Desk(slurm, folder / "broken")
    (broken.folder / "hangs").mkdir()
    (broken.folder / "hangs/sitecustomize.py").write_text(HANGS)
    (broken.folder / "setup.sh").write_text("export PYTHONPATH=$PWD/hangs:$PYTHONPATH\n")
    (words,) = re.findall(r"^```text\nprimus (slurm submit --doctor .*)\n```", PAGE.read_text(), re.MULTILINE)
    words = words.replace("--nnodes 8", "--nnodes 2").replace("--gpus-per-node 8", "--gpus-per-node 0")
    commands = [
        (sound, (*words.split(), "--nproc-per-node", "1", "--data", "missing")),
        (
            broken,
            (
                *("slurm", "submit", "--doctor", "--nnodes", "2", "--setup", "setup.sh", "--interactive"),
                *("--rendezvous-timeout", "3"),
            ),
        ),
    ]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda each: each[0].primus(*each[1], env={"EXP": "toy.yaml"}), commands)
    return (sound, first), (broken, second)


def test_a_job_examines_its_nodes_as_the_page_says(jobs: tuple[Job, Job]) -> None:
    desk, done = jobs[0]
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


def test_the_commands_that_look_at_jobs_know_an_examination(jobs: tuple[Job, Job]) -> None:
    desk, _ = jobs[0]
    (run,) = (desk.folder / "output/doctor/runs").iterdir()
    (status,) = json.loads(desk.primus("slurm", "status", "--json").stdout)
    (listed,) = [each for each in json.loads(desk.primus("slurm", "list", "--json").stdout) if each["run"] == str(run)]
    assert listed == status
    assert (status["experiment"], status["state"], status["exit_status"]) == ("doctor", "failed", 20)
    assert "Something here is broken." in desk.primus("slurm", "logs").stdout
    assert "had ended already: has found errors" in desk.primus("slurm", "cancel", str(run)).stdout


def test_a_node_that_hangs_is_named_and_not_waited_for(jobs: tuple[Job, Job]) -> None:
    _, done = jobs[1]
    assert "ERROR absent: node 1" in done.stdout, done.stderr
    assert "Left out: the measured part: node 1 did not answer" in done.stdout
    assert done.returncode == 20

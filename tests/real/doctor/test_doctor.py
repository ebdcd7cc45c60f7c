"""`primus doctor` on this machine: alone, with two workers, as two nodes, with a worker that hangs, without torch."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

LIMIT = 15
"""Seconds for one step of a worker."""


class Doctor:
    """A `primus doctor` that runs in a folder."""

    def __init__(self, folder: Path, *options: str, environ: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "primus", "doctor", "--json", *options],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | (environ or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=240)
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def doctor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Doctor]]:
    """Starts it with these options, in a folder of its own or in the one that is named."""
    started: list[Doctor] = []

    def start(*options: str, folder: Path | None = None, environ: dict[str, str] | None = None) -> Doctor:
        started.append(Doctor(folder or tmp_path_factory.mktemp("doctor"), *options, environ=environ))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


@pytest.fixture(scope="module")
def two_nodes(doctor: Callable[..., Doctor], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Doctor]]:
    """Starts two nodes that share a folder, each with a worker."""

    def start(*options: str) -> list[Doctor]:
        folder = tmp_path_factory.mktemp("nodes")
        port = next(port for port in random.sample(range(20_000, 32_000), 100) if is_free(port))
        common = ("--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.2", "--master-port", str(port))
        return [doctor(*common, "--node-rank", str(node), *options, folder=folder) for node in (1, 0)][::-1]

    return start


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def answer_of(doctor: Doctor) -> dict[str, Any]:
    status, out, err = doctor.finish()
    answer: dict[str, Any] = json.loads(out)
    assert status == answer["exit_status"], err
    return answer


def errors(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["name"], each["where"]) for each in answer["findings"] if each["severity"] == "error"]


def test_two_workers_measure_their_devices_and_each_other(doctor: Callable[..., Doctor]) -> None:
    one = doctor("--nproc-per-node", "2", "--html", "page.html")
    answer = answer_of(one)

    assert errors(answer) == []
    assert answer["rates"].keys() == {
        *("gemm_tflops", "memory_tb", "all_reduce_gb", "all_gather_gb", "all_to_all_gb", "pairs_gb", "ring_gb")
    }
    assert answer["rates"]["gemm_tflops"].keys() == {"fp32", "bf16"}
    assert [device["rank"] for device in answer["devices"]] == [0, 1]
    assert [value["peer"] for value in answer["workers"][0]["values"] if value["name"] == "pairs node"] == [1]
    assert all(value["value"] > 0 for worker in answer["workers"] for value in worker["values"])
    assert (one.folder / "page.html").read_text().startswith("<!doctype html>")
    assert Path(answer["run_directory"]).is_relative_to(one.folder)


def test_two_nodes_are_examined_as_one_job(two_nodes: Callable[..., list[Doctor]]) -> None:
    zero, one = two_nodes()
    answer = answer_of(zero)
    status, out, err = one.finish()

    assert errors(answer) == []
    assert [node["node"] for node in answer["nodes"]] == [0, 1]
    assert abs(answer["nodes"][1]["clock"]["seconds"]) <= answer["nodes"][1]["clock"]["within"] + 0.1
    assert answer["rates"]["pairs_gb"].keys() == {"all"}
    assert (status, out) == (answer["exit_status"], "")
    assert "node 0 reports" in err


def test_a_worker_that_hangs_is_named_and_not_waited_for(
    two_nodes: Callable[..., list[Doctor]], until: Callable[..., None]
) -> None:
    zero, one = two_nodes("--step-timeout", str(LIMIT))
    where = "output/doctor/runs/*/heartbeats/node1-rank1"
    until(lambda: any(map(measures, one.folder.glob("output/doctor/runs/*/doctor/node1-rank1.json"))), timeout=120)
    pid = json.loads(next(one.folder.glob(where)).read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)

    answer = answer_of(zero)

    ((name, place),) = errors(answer)
    assert name == "worker-hangs"
    assert place.startswith("rank 1 on node 1 (")
    assert one.finish()[0] == answer["exit_status"] == 20


def test_what_is_stopped_says_so_and_reports_what_it_has(
    doctor: Callable[..., Doctor], until: Callable[..., None]
) -> None:
    one = doctor("--full")
    until(lambda: any(map(measures, one.folder.glob("output/doctor/runs/*/doctor/node0-rank0.json"))), timeout=120)
    one.process.send_signal(signal.SIGTERM)

    status, out, _ = one.finish()

    answer = json.loads(out)
    assert status == answer["exit_status"] == 143
    assert answer["left_out"][0].startswith("what had not been measured yet: stopped by SIGTERM")
    assert errors(answer) == []


def measures(path: Path) -> bool:
    return "meet" in json.loads(path.read_text())["done"]


def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/doctor.md").read_text()
    (block,) = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for line in block.splitlines():
        argv = [sys.executable, "-m", *line.split()]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 10), done.stderr  # a warning is about the machine that the test runs on
        assert "gemm fp32" in done.stdout
    assert (tmp_path / "doctor.html").exists()


def test_without_torch_the_host_part_remains(doctor: Callable[..., Doctor], tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")\n")
    answer = answer_of(doctor(environ={"PYTHONPATH": str(tmp_path)}))

    assert ("warning", "no-torch") in [(each["severity"], each["name"]) for each in answer["findings"]]
    assert answer["exit_status"] == 10
    assert answer["left_out"][0].startswith("the measured part: torch can't be imported on node 0")
    assert answer["rates"] == {}

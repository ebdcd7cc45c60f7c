"""Real trainings on two nodes of the cluster, plain and in containers, against the same ones on this machine. All are
begun at once: they take turns on the nodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from cluster import Cluster
from conftest import Desk, read, sets
from own_podman import Podman, own_podman

pytestmark = pytest.mark.real

TINY = MappingProxyType(
    {
        "megatron": sets(
            mock_data="true", data_path="null", train_iters=3, micro_batch_size=2, lr_warmup_iters=0, log_interval=1
        ),
        "torchtitan": [
            *("--set", "training.dataset_path=corpus", "--set", "model.hf_assets_path=corpus/tokenizer"),
            *("--set", "training.steps=3", "--set", "lr_scheduler.warmup_steps=1", "--set", "metrics.log_freq=1"),
            *(
                "--set",
                "checkpoint.enable=false",
                "--set",
                "training.seq_len=64",
                "--set",
                "training.local_batch_size=2",
            ),
        ],
    }
)
PLACES = ("here", "nodes", "containers")
TOY = Path(__file__).with_name("toy")


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    with own_podman(tmp_path_factory.mktemp("podman")) as made:
        made.make_image("tiny", None, f"ENV PYTHONPATH={TOY}")
        yield made


@pytest.fixture(scope="module")
def contained(podman: Podman) -> list[str]:
    """Options of a job in containers of the tiny image."""
    return ["--image", f"{podman.image}:tiny", *(word for mount in podman.mounts for word in ("--mount", mount))]


@pytest.fixture(scope="module")
def office(slurm: Cluster, podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk for all jobs of this module, in which podman works."""
    slurm.clear()
    desk = Desk(slurm, tmp_path_factory.mktemp("training") / "desk")
    desk.environment["CONTAINERS_CONF"] = str(podman.conf)
    return desk


@pytest.fixture(scope="module")
def trained(office: Desk, contained: list[str]) -> dict[tuple[str, str], Path]:
    """The run directory of each backend at each place."""
    texts = [str(path) for path in sorted(Path(subprocess.__file__).parent.glob("a*.py"))]
    made = office.primus(
        "data", "prepare", *texts, "--format", "torchtitan", "--tokenizer", "byte", "--output", "corpus"
    )
    assert made.returncode == 0, made.stderr
    runs, jobs = {}, []
    size = ("--nnodes", "2", "--nproc-per-node", "1", "--gpus-per-node", "0")
    for place, options in (("containers", contained), ("nodes", [])):
        for backend, values in TINY.items():
            name = ("--set", f"exp_name={backend}-{place}")
            exp = ("--exp", f"{backend}/tiny_llama")
            done = office.primus("slurm", "submit", *exp, *values, *size, *name, *options, "--json")
            assert done.returncode == 0, done.stderr
            (run,) = json.loads(done.stdout)["runs"]
            runs[backend, place] = Path(run["run"])
            jobs.append(run["job"])
    for backend, values in TINY.items():
        name = ("--set", f"exp_name={backend}-here")
        done = office.primus("train", "--exp", f"{backend}/tiny_llama", *values, "--nproc-per-node", "2", *name)
        assert done.returncode == 0, done.stdout + done.stderr
        (runs[backend, "here"],) = runs[backend, "nodes"].parents[2].glob(f"{backend}-here/runs/*")
    over = ("COMPLETED", "FAILED")
    office.cluster.wait_for(lambda: all(office.cluster.job_state(job) in over for job in jobs), "the trainings", 400)
    return runs


@pytest.mark.parametrize("place", PLACES[1:])
@pytest.mark.parametrize("backend", TINY)
def test_two_nodes_learn_what_two_processes_of_one_machine_learn(
    trained: dict[tuple[str, str], Path], backend: str, place: str
) -> None:
    far = trained[backend, place]
    assert read(far / "status.json")["state"] == "succeeded", (far / "slurm/logs/node0.log").read_text()
    assert read(far / "manifest.json")["resources"]["nnodes"] == 2
    assert losses(far) == losses(trained[backend, "here"])


def test_each_node_trains_in_a_container_of_its_own(podman: Podman, trained: dict[tuple[str, str], Path]) -> None:
    run = trained["megatron", "containers"]
    assert read(run / "manifest.json")["container"]["image"] == f"{podman.image}:tiny"
    assert [read(run / f"logs/node{node}/container.json")["packages"]["torch"] for node in (0, 1)]
    assert "container" not in read(trained["megatron", "nodes"] / "manifest.json")
    assert podman.running() == []


def test_a_job_that_is_cancelled_saves_and_leaves_no_container(
    office: Desk, podman: Podman, contained: list[str]
) -> None:
    steps = sets(exp_name="cancelled", steps=10000, step_seconds=0.05)
    size = ("--nnodes", "2", "--nproc-per-node", "1")
    done = office.submit(*size, *contained, "--mount", f"{TOY}:{TOY}:ro", *steps)
    assert done.returncode == 0, done.stderr
    run = office.run("cancelled")
    office.cluster.wait_for((run / "metrics.jsonl").exists, "the first step", 120)
    assert len(podman.running()) == 2
    done = office.primus("slurm", "cancel", run.name, "--json")
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert answer["words"] == "stopped by itself when asked to"
    assert answer["step"] == int(Path(answer["checkpoint"]).read_text())
    assert podman.running() == []


def test_an_image_that_is_nowhere_is_said_to_be(office: Desk) -> None:
    image = "localhost:1/primus-test-none"
    done = office.submit("--nnodes", "2", "--nproc-per-node", "1", "--image", image, *sets(exp_name="none"), "--wait")
    assert done.returncode == 4
    words = f"--image {image}: not on this machine, and podman could not pull it"
    assert words in done.stderr
    assert words in office.primus("slurm", "status", office.run("none").name).stdout


def losses(run: Path) -> list[float]:
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = [step["loss"] for step in steps if "loss" in step]
    assert len(found) == 3
    return found

"""Training inside of a real container: podman with an image that holds busybox alone; Python and torch are this
machine's, mounted. Debian: podman runc conmon busybox-static (scripts/test_packages.sh)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from own_podman import EXPERIMENT, Podman, own_podman

from primus.launch.supervise import ECHO

pytestmark = pytest.mark.real

WORKERS = Path(__file__).parents[2] / "launch" / "workers"
SECRET = "hf_" + "s3cr3t" * 4


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    with own_podman(tmp_path_factory.mktemp("podman")) as made:
        made.make_image("full", None, "ENV NVTE_TORCH_COMPILE=of-the-image", "ENV HF_HOME=/tmp/of-the-image")
        yield made


class Contained:
    """A launcher with toy workers in a container."""

    def __init__(self, podman: Podman, run_dir: Path, toy: str, environ: dict[str, str], **job: Any) -> None:
        self.run_dir = run_dir
        wanted = {"image": f"{podman.image}:full", "mounts": podman.mounts, **job, "run_dir": str(run_dir), "toy": toy}
        self.process = subprocess.Popen(
            [sys.executable, str(WORKERS / "submit_contained.py"), json.dumps(wanted)],
            cwd=WORKERS,
            env=podman.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def wait_for(self, name: str) -> None:
        wait_until(lambda: (self.run_dir / name).exists() or self.process.poll() is not None)
        assert (self.run_dir / name).exists(), self.finish()

    def log(self, rank: int = 0) -> str:
        return (self.run_dir / f"logs/node0/rank{rank}.log").read_text()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def contain(podman: Podman, tmp_path: Path) -> Iterator[Callable[..., Contained]]:
    runs: list[Contained] = []

    def start(toy: str = "steps", environ: dict[str, str] | None = None, **job: Any) -> Contained:
        runs.append(Contained(podman, tmp_path / "folder/runs" / f"run{len(runs)}", toy, environ or {}, **job))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate()


@pytest.fixture(scope="module")
def trained(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A whole training of two processes, by the command: its project and its output."""
    project = tmp_path_factory.mktemp("project")
    (project / "toy.yaml").write_text(EXPERIMENT)
    mounts = [word for mount in podman.mounts for word in ("--mount", mount)]
    command = ["train", "--exp", "toy.yaml", "--image", f"{podman.image}:full", "--nproc-per-node", "2", *mounts]
    done = subprocess.run(
        [sys.executable, "-m", "primus", *command],
        cwd=project,
        env=podman.environ | {"HF_TOKEN": SECRET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done.stdout


def run_of(project: Path) -> Path:
    [found] = project.glob("output/*/*/toy/runs/*")
    return found


def test_two_processes_train_in_a_container(trained: tuple[Path, str]) -> None:
    project, out = trained
    assert "step 4/4" in out
    assert json.loads((run_of(project) / "status.json").read_text())["state"] == "succeeded"
    assert (run_of(project) / "logs/node0/rank1.log").exists()


def test_checkpoints_belong_to_the_user(trained: tuple[Path, str]) -> None:
    files = list(trained[0].glob("output/*/*/toy/checkpoints/iter_0000004/*"))
    assert files
    assert {(file.stat().st_uid, file.stat().st_gid) for file in files} == {(os.getuid(), os.getgid())}


def test_the_manifest_names_the_image(podman: Podman, trained: tuple[Path, str]) -> None:
    container = json.loads((run_of(trained[0]) / "manifest.json").read_text())["container"]
    [image] = json.loads(podman("image", "inspect", f"{podman.image}:full"))
    assert container["runtime"] == "podman"
    assert container["image_id"] == image["Id"]
    assert container["image_digests"] == image["RepoDigests"]


def test_what_is_in_the_image_is_noted(trained: tuple[Path, str]) -> None:
    inside = json.loads((run_of(trained[0]) / "logs/node0/container.json").read_text())
    assert "torch" in inside["packages"]


def test_no_secret_is_left_in_a_file(trained: tuple[Path, str]) -> None:
    texts = [path.read_text(errors="replace") for path in run_of(trained[0]).rglob("*") if path.is_file()]
    assert texts
    assert not [text for text in texts if SECRET in text]


def test_no_container_is_left(podman: Podman, trained: tuple[Path, str]) -> None:
    assert podman.running() == []


def test_a_dry_run_shows_what_the_image_sets_and_starts_nothing(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(EXPERIMENT)
    image = podman.make_image("threads", None, "ENV OMP_NUM_THREADS=3")
    environ = {name: value for name, value in podman.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "primus", "train", "--exp", "toy.yaml", "--image", image, "--dry-run"]
    out = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in out.splitlines() if line.strip().startswith("OMP_NUM_THREADS")]
    assert line.split("#")[0].strip() == "OMP_NUM_THREADS=3"
    assert "# the image's; primus would set 1" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.yaml"]


def test_variables_arrive_as_they_are_and_the_images_stay(contain: Callable[..., Contained]) -> None:
    value = "two\nlines, 'quotes' and  # a hash"
    run = contain("show_environment", environment={"MARK": value, "SECOND": "x" * 70_000})
    assert run.finish()[0] == 0
    seen = json.loads((run.run_dir / "environment.json").read_text())
    assert seen["MARK"] == value
    assert len(seen["SECOND"]) == 70_000
    assert seen["NVTE_TORCH_COMPILE"] == "of-the-image"
    assert seen["HF_HOME"] == "/tmp/of-the-image"
    assert seen["HOME"] == "/tmp"


@pytest.mark.parametrize(("processes", "status"), [(1, 7), (2, 7)])
def test_the_status_of_a_failing_worker_comes_back(
    podman: Podman, contain: Callable[..., Contained], processes: int, status: int
) -> None:
    run = contain("leave" if processes == 1 else "leave:1", resources={"nproc_per_node": processes})
    found, _, err = run.finish()
    assert found == status
    assert f"exit status {status}" in err
    assert json.loads((run.run_dir / "status.json").read_text())["exit_status"] == status
    assert podman.running() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_lets_the_worker_save(podman: Podman, contain: Callable[..., Contained], number: int) -> None:
    run = contain("wait_for_stop")
    run.wait_for("waiting-0")
    run.process.send_signal(number)
    status, _, _ = run.finish()
    assert status == 128 + number
    assert "saved after SIG" in run.log()
    assert json.loads((run.run_dir / "status.json").read_text())["state"] == "interrupted"
    assert podman.running() == []


def test_a_signal_that_comes_before_the_container_runs_is_not_lost(contain: Callable[..., Contained]) -> None:
    run = contain("wait_for_stop")
    run.wait_for("logs/node0/rank0.log")  # opened for the runtime, which begins now
    run.process.send_signal(signal.SIGTERM)
    assert run.finish()[0] == 128 + signal.SIGTERM


def test_a_second_signal_kills_what_does_not_stop(podman: Podman, contain: Callable[..., Contained]) -> None:
    run = contain("never_stop")
    run.wait_for("waiting-0")
    run.process.send_signal(signal.SIGINT)
    while "SIGINT: stopping" not in run.process.stdout.readline():
        continue
    time.sleep(ECHO)
    run.process.send_signal(signal.SIGINT)
    assert run.finish()[0] == 130
    assert podman.running() == []


def test_a_container_that_is_stopped_from_outside_saves(podman: Podman, contain: Callable[..., Contained]) -> None:
    run = contain("wait_for_stop")
    run.wait_for("waiting-0")
    [name] = podman.running()
    podman("stop", "--time=20", name)
    assert run.finish()[0] == 128 + signal.SIGTERM
    assert "saved after SIGTERM" in run.log()


def test_no_container_outlives_a_launcher_that_is_killed(podman: Podman, contain: Callable[..., Contained]) -> None:
    run = contain("never_stop")
    run.wait_for("waiting-0")
    assert len(podman.running()) == 1
    run.process.kill()
    wait_until(lambda: podman.running() == [])


def test_a_worker_that_runs_out_of_memory_is_told_as_such(contain: Callable[..., Contained], tmp_path: Path) -> None:
    wrapper = tmp_path / "bin/podman"
    wrapper.parent.mkdir()
    limited = '[ "$1" = run ] && shift && set -- run --memory=96m "$@"'
    own_folder = f"cd {tmp_path}"  # conmon leaves a file `oom` where it runs
    wrapper.write_text(f'#!/bin/sh\n{limited}\n{own_folder}\nexec {shutil.which("podman")} "$@"\n')
    wrapper.chmod(0o755)
    run = contain("take_all_memory", environ={"PATH": f"{wrapper.parent}:{os.environ['PATH']}"})
    status, _, err = run.finish()
    assert status == 137
    assert "SIGKILL" in err
    assert "memory" in err


def test_an_image_without_python_is_explained(podman: Podman, contain: Callable[..., Contained]) -> None:
    run = contain(mounts=[])
    status, _, err = run.finish()
    assert status == 127
    assert "podman found no python3 in it" in err
    assert podman.running() == []


def test_an_image_without_a_package_that_training_needs_is_explained(contain: Callable[..., Contained]) -> None:
    status, out, _ = contain(packages=["json", "no_such_package"]).finish()
    assert status == 4
    assert "this image lacks what training needs: no_such_package" in out


def test_an_image_without_the_libraries_of_primus_is_given_them(
    podman: Podman, contain: Callable[..., Contained], tmp_path: Path
) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    image = podman.make_image("bare", tmp_path / "bare/bin/python3")
    mounts = [*podman.mounts, f"{tmp_path}/bare:{tmp_path}/bare:ro"]
    assert contain("load_yaml", image=image, mounts=mounts).finish()[0] == 0


def test_an_image_that_is_nowhere_is_said_to_be(podman: Podman, contain: Callable[..., Contained]) -> None:
    status, _, err = contain(image="localhost:1/primus-test-none").finish()
    assert status == 4
    assert "podman could not pull it" in err
    assert "connection refused" in err

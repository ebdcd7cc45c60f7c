"""The three stages in a real container whose image has the fake ROCm, and settings that would spoil a dump."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_podman import EXPERIMENT, Podman, own_podman

pytestmark = pytest.mark.real

TESTS = Path(__file__).parents[2]
HOOK = TESTS / "tuning" / "standins" / "hook"


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    with own_podman(tmp_path_factory.mktemp("podman")) as made:
        yield made


@pytest.fixture(scope="module")
def tuned(podman: Podman, rocm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The project, and what all stages printed."""
    settings = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",  # the bench is started by a shell
        "ROCM_PATH": rocm,
        "STANDIN_HOOK": rocm / "lib",
        "PYTHONPATH": HOOK,
        "HIPBLASLT_LOG_LEVEL": "0",
        "HIPBLASLT_TUNING_OVERRIDE_FILE": "/of/the/image",
    }
    image = podman.make_image("full", None, *(f"ENV {name}={value}" for name, value in settings.items()))
    project = tmp_path_factory.mktemp("project")
    (project / "toy.yaml").write_text(EXPERIMENT)
    mounts = [*podman.mounts, f"{rocm}:{rocm}:ro", f"{TESTS}:{TESTS}:ro"]
    command = ["tune", "--stage", "all", "--exp", "toy.yaml", "--image", image, "--train-iters", "2"]
    kept = {name: value for name, value in podman.environ.items() if not name.startswith(("HIPBLASLT_", "ROCM_"))}
    done = subprocess.run(
        [sys.executable, "-m", "primus", *command, *(word for mount in mounts for word in ("--mount", mount))],
        cwd=project,
        env=kept | {"OMP_NUM_THREADS": "1", "PRIMUS_TUNE_LOCKS": str(project)},  # rocm can't be written inside
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done.stdout, done.stderr


def test_the_dump_is_made_inside_although_the_image_would_silence_it(tuned: tuple[Path, str, str]):
    project, out, _ = tuned
    assert list(project.glob("output/tune_hipblaslt/toy/gemm_shape/node0/gemm_*.txt"))
    assert "GEMMs in 2 steps of 1 process" in out


def test_the_kernels_are_tuned_inside_with_progress_outside(tuned: tuple[Path, str, str]):
    project, _, said = tuned
    assert (project / "output/tune_hipblaslt/toy/gemm_tune/tune_hipblas_gemm_results.txt").exists()
    assert "shapes to tune" in said


def test_the_use_of_the_file_is_proved_by_the_library_of_the_image(tuned: tuple[Path, str, str]):
    [facts] = [json.loads(path.read_text()) for path in tuned[0].glob("output/*/*/toy/runs/*/tuning.json")]
    assert facts["proof"]["used"] == facts["proof"]["asked"] > 0


def test_no_container_and_no_request_is_left(podman: Podman, tuned: tuple[Path, str, str]):
    assert not podman.running()
    assert not list(tuned[0].glob("output/tune_hipblaslt/toy/inside/*"))
    assert os.access(tuned[0] / "output", os.W_OK)

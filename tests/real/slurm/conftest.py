"""One SLURM cluster for all tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cluster import Cluster, why_not


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster, whatever earlier tests have left in it."""
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no SLURM cluster: {reason}")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(slurm: Cluster) -> Cluster:
    """The cluster with all nodes idle and no job."""
    slurm.clear()
    return slurm


TOY = """\
work_group: us
user_name: me
exp_name: toy
modules:
  pre_trainer:
    framework: toy
    overrides: {}
"""

ORIGINAL = ("EXP", "BACKEND", "NNODES", "GPUS_PER_NODE", "MASTER_ADDR", "MASTER_PORT", "DOCKER_IMAGE", "LOG_DIR")


class Desk:
    """A folder on the login node, with an experiment of the toy backend in it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "toy.yaml").write_text(TOY)
        paths = [str(Path(__file__).parent / "toy"), os.environ.get("PYTHONPATH", "")]
        own = {"PYTHONPATH": ":".join(filter(None, paths)), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
        clean = {name: value for name, value in os.environ.items() if name not in ORIGINAL}
        self.environment = {**clean, **cluster.environment, **own, "PYTHONDONTWRITEBYTECODE": "1"}

    def primus(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of Primus here."""
        command = [sys.executable, "-m", "primus", *arguments]
        environment = self.environment | (env or {})
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    def submit(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return self.primus("slurm", "submit", "--exp", "toy.yaml", "--gpus-per-node", "0", *arguments, env=env)

    def runs(self, experiment: str = "toy") -> list[Path]:
        """The run directories of an experiment, the oldest first."""
        return sorted((self.folder / "output/us/me" / experiment / "runs").glob("*"))

    def run(self, experiment: str = "toy") -> Path:
        """The one run directory of an experiment."""
        (only,) = self.runs(experiment)
        return only


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def sets(**values: Any) -> list[str]:
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def desk(cluster: Cluster, tmp_path: Path) -> Desk:
    return Desk(cluster, tmp_path / "desk")

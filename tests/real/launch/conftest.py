"""Trainings that tests disturb."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from training import Training


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Training]]:
    """Starts `primus train` with these options, in a folder of its own or in the one that is named."""
    started: list[Training] = []

    def start(*options: str, folder: Path | None = None) -> Training:
        started.append(Training(folder or tmp_path_factory.mktemp("training"), *options))
        return started[-1]

    yield start
    for training in started:
        training.process.kill()
        training.finish()


@pytest.fixture
def hold_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the first attempt of trainings that are started then go no further than this step."""

    def hold(step: int) -> None:
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "hold"))
        monkeypatch.setenv("HOLD_AFTER", str(step))

    return hold


@pytest.fixture
def two_nodes(train: Callable[..., Training], tmp_path: Path) -> Callable[..., list[Training]]:
    """Starts the launchers of two nodes, which share a folder."""

    def start(*options: str) -> list[Training]:
        port = next(port for port in random.sample(range(20_000, 32_000), 100) if _is_free(port))
        common = ("--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.2", "--master-port", str(port))
        return [train(*common, "--node-rank", str(node), *options, folder=tmp_path) for node in (0, 1)]

    return start


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

"""What the tests of the torchtitan backend share: experiments from a few values, and what the checks say to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primus.backends.torchtitan import BACKEND
from primus.errors import Problem
from primus.experiment import Experiment, load, resolve
from primus.job import Resources


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Experiment]:
    """A bare torchtitan experiment with these `key=value` settings."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "job.toml"

    def make(*sets: str, text: str = "") -> Experiment:
        file.write_text(text)
        options = (f"workspace={tmp_path}", "work_group=group", "user_name=user", *sets)
        return load(file, sets=options, environ={})

    return make


@pytest.fixture
def problems(experiment: Callable[..., Experiment]) -> Callable[..., list[Problem]]:
    """What the schema and the checks find in an experiment; with `gpus`, on that many of them."""

    def find(*sets: str, text: str = "", gpus: int = 0, cpus: int = 0) -> list[Problem]:
        resolved, found = resolve(experiment(*sets, text=text), BACKEND.schema())
        resources = None
        if gpus or cpus:
            resources = Resources(nproc_per_node=gpus or cpus, accelerator="amd" if gpus else "cpu")
        return [*found, *BACKEND.check(resolved, resources)]

    return find


@pytest.fixture
def plain(experiment: Callable[..., Experiment]) -> Callable[..., dict[str, Any]]:
    """The values of an experiment as torchtitan would get them."""

    def values(text: str) -> dict[str, Any]:
        resolved, found = resolve(experiment(text=text), BACKEND.schema())
        assert not [each for each in found if each.severity == "error"]
        return resolved.plain()

    return values

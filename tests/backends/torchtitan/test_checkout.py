"""A torchtitan checkout in place of the installed package: a copy of that package with one key more and one less."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from primus.backends.prepare import Prepared, prepare
from primus.backends.torchtitan import BACKEND
from primus.backends.torchtitan.source import root
from primus.errors import MissingError
from primus.job import Resources


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Enough of a checkout to be planned with."""
    target = tmp_path / "checkout/torchtitan/config/job_config.py"
    target.parent.mkdir(parents=True)
    shutil.copy(root() / "config/job_config.py", target)
    text = target.read_text()
    text = text.replace("class Training:\n", 'class Training:\n    patience: int = 3\n    """Steps to wait."""\n\n', 1)
    text = text.replace("    gc_freq: int = 50\n", "", 1)
    text = text.replace("    max_norm: float | int = 1.0\n", "    max_norm: float | None = 1.0\n", 1)
    target.write_text(text)
    return tmp_path / "checkout"


@pytest.fixture
def prepared(checkout: Path, tmp_path: Path) -> Callable[..., Prepared]:
    def make(*sets: str, environ: dict[str, str] | None = None) -> Prepared:
        file = tmp_path / "job.toml"
        file.write_text('[training]\ndataset = "c4_test"\n')
        place = {"TORCHTITAN_PATH": str(checkout)} if environ is None else environ
        return prepare(str(file), sets=sets, resources=Resources(), environ=place)

    return make


def errors(prepared: Prepared) -> list[str]:
    return [str(problem) for problem in prepared.errors if "hf_assets_path" not in str(problem)]


def test_without_the_variable_the_installed_torchtitan_trains() -> None:
    assert BACKEND.variant({"TORCHTITAN_PATH": ""}) is BACKEND


def test_a_folder_that_is_no_checkout_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"\$TORCHTITAN_PATH: .* is no torchtitan checkout"):
        BACKEND.variant({"TORCHTITAN_PATH": str(tmp_path)})


def test_a_key_of_the_checkout_is_known_with_its_type(prepared: Callable[..., Prepared]) -> None:
    assert not errors(prepared("training.patience=5"))
    assert errors(prepared("training.patience=5", environ={})) == [
        "--set training.patience=5: training.patience: unknown key."
    ]
    assert "expected a whole number" in errors(prepared("training.patience=soon"))[0]


def test_an_unknown_key_is_told_with_the_nearest_of_the_checkout(prepared: Callable[..., Prepared]) -> None:
    assert "Did you mean training.patience?" in errors(prepared("training.patients=5"))[0]


def test_a_key_that_the_checkout_lacks_is_refused_unless_it_changes_nothing(prepared: Callable[..., Prepared]) -> None:
    assert "has no such key" in errors(prepared("training.gc_freq=10"))[0]
    assert not errors(prepared("training.gc_freq=50"))


def test_what_primus_knows_about_a_key_stays(prepared: Callable[..., Prepared]) -> None:
    checkout, own = prepared().backend.schema(), BACKEND.schema()
    assert checkout.keys["training.steps"] == own.keys["training.steps"]
    assert checkout.keys["model.custom.dim"] == own.keys["model.custom.dim"]
    assert checkout.answers["fault_tolerance.enable"] == own.answers["fault_tolerance.enable"]


def test_the_plan_names_the_checkout(prepared: Callable[..., Prepared], checkout: Path) -> None:
    found = prepared()
    job = found.backend.plan(found.experiment, Resources(), run_dir=Path("/runs/1"), resume="auto")
    assert {each.name: each.value for each in job.environment}["TORCHTITAN_PATH"] == str(checkout)

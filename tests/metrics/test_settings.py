import sys

import pytest

from primus.metrics.settings import MetricsSettings


def test_nothing_is_on_by_itself():
    assert MetricsSettings().packages() == ()


@pytest.mark.parametrize(
    ("keys", "package"),
    [
        ({"tensorboard_dir": "/tb"}, "tensorboard"),
        ({"disable_tensorboard": False}, "tensorboard"),
        ({"wandb_project": "llama"}, "wandb"),
        ({"disable_wandb": False}, "wandb"),
        ({"mlflow_experiment_name": "llama"}, "mlflow"),
        ({"mlflow_run_name": "first"}, "mlflow"),
        ({"disable_mlflow": False}, "mlflow"),
    ],
)
def test_a_name_or_the_switch_turns_a_service_on(keys, package):
    assert MetricsSettings(**keys).packages() == (package,)


@pytest.mark.parametrize(
    "keys",
    [
        {"tensorboard_dir": "/tb", "disable_tensorboard": True},
        {"wandb_project": "llama", "disable_wandb": True},
        {"mlflow_run_name": "first", "disable_mlflow": True},
    ],
)
def test_the_switch_wins_over_a_name(keys):
    assert MetricsSettings(**keys).packages() == ()


def test_a_service_whose_package_is_not_here_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    missing = MetricsSettings(wandb_project="llama", disable_tensorboard=False).not_installed()
    assert list(missing) == ["wandb"]
    assert "pip install 'primus[wandb]'" in missing["wandb"]


def test_a_folder_of_reports_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "mlflow").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    assert list(MetricsSettings(disable_mlflow=False).not_installed()) == ["mlflow"]

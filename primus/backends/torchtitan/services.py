"""Which metrics services a torchtitan experiment asks for, besides metrics.jsonl. The worker hands them to record()."""

from __future__ import annotations

from collections.abc import Mapping

from primus.backends.torchtitan.settings import Settings
from primus.metrics.settings import MetricsSettings


def services_of(settings: Settings, environ: Mapping[str, str]) -> MetricsSettings:
    """The switches of [metrics], with the names that torchtitan takes from the environment."""
    return MetricsSettings(
        disable_tensorboard=not settings["metrics.enable_tensorboard"],
        disable_wandb=not settings["metrics.enable_wandb"],
        disable_mlflow=not settings["metrics.enable_mlflow"],
        wandb_project=environ.get("WANDB_PROJECT", "torchtitan"),
        wandb_exp_name=environ.get("WANDB_RUN_NAME"),
        wandb_entity=environ.get("WANDB_TEAM"),
    )

"""One torchtitan training process: `python -m primus.backends.torchtitan.worker RUN_DIR`. `primus train` starts it."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from primus.backends.torchtitan import BACKEND
from primus.backends.torchtitan.assets import local_folder
from primus.backends.torchtitan.checkpoint_folder import folder_of
from primus.backends.torchtitan.layout import Layout, layout_of
from primus.backends.torchtitan.settings import Settings
from primus.backends.worker import Worker, run
from primus.errors import ExperimentError, MissingError
from primus.experiment import Experiment, resolve


def train(worker: Worker) -> None:
    """Train the experiment of the run directory, or go on with it."""
    experiment, problems = resolve(worker.experiment, BACKEND.schema())
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise ExperimentError(errors)
    settings = Settings(experiment, BACKEND.schema())
    # Before anything heavy is imported: torchtitan would notice only after the model is built, or not at all.
    if settings["metrics.enable_wandb"] and find_spec("wandb") is None:
        raise MissingError("metrics.enable_wandb: the package wandb is not installed here: pip install wandb")
    weights = settings["checkpoint.initial_load_in_hf"] and not settings["checkpoint.initial_load_path"]
    assets = local_folder(settings["model.hf_assets_path"], worker, weights=weights)
    _train(worker, experiment, layout_of(settings, worker.world_size), assets)


def _train(worker: Worker, experiment: Experiment, layout: Layout, assets: str) -> None:
    import torch

    if not torch.cuda.is_available():
        from primus.backends.torchtitan import cpu

        cpu.install()
    from primus.backends.torchtitan import data, logs, model
    from primus.backends.torchtitan.job_config import Folders, job_config
    from primus.backends.torchtitan.metrics import Metrics
    from primus.backends.torchtitan.trainer import Trainer

    log = worker.run_dir.log_path(worker.node_rank, worker.rank)
    logs.set_up(log.with_name(f"torchtitan-{log.name}"))
    values = experiment.plain()
    data.register(worker.world_size)
    model.register(values, build_metrics=partial(_metrics, Metrics, worker, layout))
    folders = Folders(run=worker.run_dir.path, checkpoints=folder_of(experiment), assets=Path(assets))
    config = job_config(experiment, folders)
    trainer = Trainer(config, worker, layout)
    if not torch.cuda.is_available():
        cpu.adjust(trainer.model_parts)
    try:
        _run(trainer, config)
    finally:
        trainer.close()
    torch.distributed.destroy_process_group()


def _run(trainer: Any, config: Any) -> None:
    if config.checkpoint.create_seed_checkpoint:
        trainer.checkpointer.save(curr_step=0, last_step=True)
    else:
        trainer.train()


def _metrics(kind: Any, worker: Worker, layout: Layout, *arguments: Any) -> Any:
    return kind(worker, layout.reporting_rank, arguments[0], arguments[1])


if __name__ == "__main__":
    run(train)

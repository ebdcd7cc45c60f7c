"""One torchtitan training process: `python -m primus.backends.torchtitan.worker RUN_DIR`. `primus train` starts it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from primus.backends.torchtitan import BACKEND
from primus.backends.torchtitan.assets import local_folder
from primus.backends.torchtitan.checkout import VARIABLE, use
from primus.backends.torchtitan.checkpoint_folder import folder_of
from primus.backends.torchtitan.flavors import sizes_of
from primus.backends.torchtitan.layout import layout_of
from primus.backends.torchtitan.services import services_of
from primus.backends.torchtitan.settings import Settings
from primus.backends.torchtitan.shape import shape_of
from primus.backends.worker import Worker, run
from primus.errors import ExperimentError
from primus.experiment import Experiment, resolve
from primus.lifeline import end_with_parent
from primus.metrics.flops import training_flops


def train(worker: Worker) -> None:
    """Train the experiment of the run directory, or go on with it."""
    use(os.environ.get(VARIABLE))
    schema = BACKEND.variant(os.environ).schema()
    experiment, problems = resolve(worker.experiment, schema)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise ExperimentError(errors)
    settings = Settings(experiment, schema)
    weights = settings["checkpoint.initial_load_in_hf"] and not settings["checkpoint.initial_load_path"]
    assets = local_folder(settings["model.hf_assets_path"], worker, weights=weights)
    _train(worker, experiment, settings, assets)


def _train(worker: Worker, experiment: Experiment, settings: Settings, assets: str) -> None:
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
    data.register()
    layout = layout_of(settings, worker.world_size)
    metrics = partial(_metrics, Metrics, worker, layout.reporting_rank, _flops_per_token(settings))
    model.register(values, build_metrics=metrics)
    folders = Folders(run=worker.run_dir.path, checkpoints=folder_of(experiment), assets=Path(assets))
    config = job_config(experiment, folders)
    trainer = Trainer(config, worker, layout, services_of(settings, os.environ))
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


def _metrics(kind: Any, worker: Worker, reporting_rank: int, flops: int | None, *arguments: Any) -> Any:
    return kind(worker, reporting_rank, flops, arguments[0], arguments[1])


def _flops_per_token(settings: Settings) -> int | None:
    """By our formula, for torchtitan's own models."""
    sizes = sizes_of(settings)
    if sizes is None:
        return None
    return training_flops(shape_of(settings["model.name"], sizes, sequence=settings["training.seq_len"]))


if __name__ == "__main__":
    run(train)
elif __name__ == "__mp_main__":  # a process that saves in the background, or reads data
    end_with_parent()

"""One torchtitan training process: `python -m primus.backends.torchtitan.worker RUN_DIR`. `primus train` starts it."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from primus.backends.torchtitan import BACKEND
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
    _require_what_is_needed(settings)
    _train(worker, experiment, layout_of(settings, worker.world_size))


def _require_what_is_needed(settings: Settings) -> None:
    """Before anything heavy is imported: torchtitan would notice only after the model is built, or not at all."""
    tokenizer = Path(settings["model.hf_assets_path"])
    if not tokenizer.is_dir():
        raise MissingError(
            f"model.hf_assets_path: {tokenizer} is not a folder here. It holds the tokenizer: tokenizer.json and "
            "tokenizer_config.json, for instance from `hf download REPOSITORY --local-dir FOLDER`."
        )
    if settings["metrics.enable_wandb"] and find_spec("wandb") is None:
        raise MissingError("metrics.enable_wandb: the package wandb is not installed here: pip install wandb")


def _train(worker: Worker, experiment: Experiment, layout: Layout) -> None:
    import torch

    if not torch.cuda.is_available():
        from primus.backends.torchtitan import cpu

        cpu.install()
    from torchtitan.tools.logging import init_logger

    from primus.backends.torchtitan import data, model
    from primus.backends.torchtitan.job_config import job_config
    from primus.backends.torchtitan.metrics import Metrics
    from primus.backends.torchtitan.trainer import Trainer

    init_logger()
    values = experiment.plain()
    data.register(worker.world_size)
    model.register(values, build_metrics=partial(_metrics, Metrics, worker, layout))
    config = job_config(experiment, run_dir=worker.run_dir.path, checkpoints=folder_of(experiment))
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

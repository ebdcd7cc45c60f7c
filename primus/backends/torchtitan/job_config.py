"""The experiment's values as torchtitan's JobConfig. The worker calls job_config()."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchtitan.config import JobConfig

from primus.backends.torchtitan.checks_model import OLD_CONVERTERS
from primus.experiment import Experiment


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Folders:
    """Where torchtitan finds and leaves its files."""

    run: Path
    checkpoints: Path
    assets: Path
    """Of the tokenizer."""


def job_config(experiment: Experiment, folders: Folders) -> JobConfig:
    """The configuration of a checked experiment: what it writes goes to the run directory, except for checkpoints."""
    values = experiment.plain()
    model = {name: value for name, value in values.get("model", {}).items() if name != "custom"}
    model["hf_assets_path"] = str(folders.assets)
    if "converters" in model:
        model["converters"] = [OLD_CONVERTERS.get(name, name) for name in model["converters"]]
    # torchtitan joins the two folders, and an absolute second one stands for itself.
    job = {**values.get("job", {}), "dump_folder": str(folders.run)}
    checkpoint = {**values.get("checkpoint", {}), "folder": str(folders.checkpoints)}
    metrics = {name: value for name, value in values.get("metrics", {}).items() if name != "enable_mlflow"}
    return _build(JobConfig, {**values, "model": model, "job": job, "checkpoint": checkpoint, "metrics": metrics})


def _build(cls: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass from nested values; fields that are not given keep torchtitan's defaults."""
    types = typing.get_type_hints(cls)
    inner = {name: _build(types[name], values[name]) for name in values if dataclasses.is_dataclass(types[name])}
    return cls(**{**values, **inner})

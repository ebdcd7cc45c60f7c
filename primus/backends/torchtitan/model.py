"""The model's specification for torchtitan's Trainer: torchtitan's own, with the experiment's sizes when the flavor is
`custom`, and with Primus' data and metrics. The worker registers it before it builds the Trainer."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable, Mapping
from typing import Any

from torchtitan.hf_datasets.text_datasets import build_text_dataloader
from torchtitan.protocols.train_spec import TrainSpec, get_train_spec, register_train_spec

from primus.backends.torchtitan import data
from primus.backends.torchtitan.flavors import CUSTOM


def register(values: Mapping[str, Any], *, build_metrics: Callable[..., Any]) -> None:
    """Tell torchtitan about the experiment's model. `values` are the experiment's, nested."""
    own_code = values.get("experimental", {}).get("custom_import")
    if own_code:
        importlib.import_module(own_code)  # it may register models and datasets
    model = values.get("model", {})
    name = model.get("name", "llama3")
    spec = dataclasses.replace(get_train_spec(name), build_metrics_processor_fn=build_metrics)
    if spec.build_dataloader_fn is build_text_dataloader:
        spec.build_dataloader_fn = data.build_dataloader
    if model.get("flavor") == CUSTOM:
        spec.model_args = {**spec.model_args, CUSTOM: custom_arguments(spec, model["custom"])}
    _replace(name, spec)


def custom_arguments(spec: TrainSpec, sizes: Mapping[str, Any]) -> Any:
    """Arguments of a model with the sizes of [model.custom]."""
    return _build(type(next(iter(spec.model_args.values()))), sizes)


def _build(cls: Any, sizes: Mapping[str, Any]) -> Any:
    """Nested sizes go to nested dataclasses, whose fields may be declared as `X | None`."""
    types = typing.get_type_hints(cls)
    inner = {
        name: _build(_dataclass_in(types[name]), value) for name, value in sizes.items() if isinstance(value, Mapping)
    }
    return cls(**{**sizes, **inner})


def _dataclass_in(annotation: Any) -> Any:
    return next(each for each in (annotation, *typing.get_args(annotation)) if dataclasses.is_dataclass(each))


def _replace(name: str, spec: TrainSpec) -> None:
    from torchtitan.protocols import train_spec

    train_spec._extra_train_specs.pop(name, None)  # register_train_spec takes a name once
    register_train_spec(name, spec)

"""Primus: pre-train large language models with Megatron-Core or TorchTitan on AMD Instinct clusters.

From Python: load(), check(), estimate(), plan() and launch(). They are found when they are first used, so that
importing Primus stays cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from primus.api import check, load, plan
    from primus.errors import ExperimentError, MissingError, PrimusError, Problem, ServiceError, UsageError
    from primus.estimate.call import Estimate, estimate
    from primus.experiment import Experiment
    from primus.launch.call import Run, launch
    from primus.launch.care import Care

__version__ = "0.1.0"

__all__ = [
    "Care",
    "Estimate",
    "Experiment",
    "ExperimentError",
    "MissingError",
    "PrimusError",
    "Problem",
    "Run",
    "ServiceError",
    "UsageError",
    "__version__",
    "check",
    "estimate",
    "launch",
    "load",
    "plan",
]

_PLACES = {
    "primus.api": ("check", "load", "plan"),
    "primus.errors": ("ExperimentError", "MissingError", "PrimusError", "Problem", "ServiceError", "UsageError"),
    "primus.estimate.call": ("Estimate",),
    "primus.experiment": ("Experiment",),
    "primus.launch.call": ("Run",),
    "primus.launch.care": ("Care",),
}


def __getattr__(name: str) -> Any:
    if name in ("estimate", "launch"):  # packages that can be called
        return import_module(f"primus.{name}")
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

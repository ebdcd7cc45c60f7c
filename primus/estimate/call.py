"""`primus.estimate` from Python: what an experiment will need. `primus estimate` prints what these functions find."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.backends.account import Account
from primus.backends.prepare import Prepared, judge
from primus.errors import ExperimentError, UsageError
from primus.estimate.rates import Rates, accelerator_of, assumed, measured
from primus.estimate.search import USABLE, Search, search
from primus.estimate.show import as_data, as_text, search_data, search_text
from primus.estimate.timing import Timing, step_time
from primus.experiment import Experiment
from primus.job import Resources
from primus.metrics.accelerators import Accelerator, Precision

SHOWN = 10
"""Layouts that a search shows."""

_MOST = 1_000_000
"""Accelerators: far more than any job has, and not so many that lists of them fill the memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What `primus estimate` prints; as text it is just that."""

    account: Account
    """Sizes, layout and memory by pipeline stage."""

    timing: Timing | None
    """Of a step; None without rates."""

    limit: float | None
    """Bytes of an accelerator that training may use; None when none was named."""

    accelerator: str
    source: str | None
    """Where the rates are from."""

    def as_data(self) -> dict[str, Any]:
        """Everything, with exact numbers: what `--json` prints."""
        return as_data(self.account, self.timing, limit=self.limit, source=self.source)

    def __str__(self) -> str:
        return as_text(self.account, self.timing, limit=self.limit, name=self.accelerator, source=self.source)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layouts:
    """What `primus estimate --search` prints; as text it is just that."""

    found: Search
    """The layouts that fit, best first, and how many others fail for what reason."""

    source: str
    """Where the rates are from."""

    def as_data(self) -> dict[str, Any]:
        """What `--json` prints."""
        return search_data(self.found, SHOWN)

    def __str__(self) -> str:
        return search_text(self.found, SHOWN, self.source)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What an experiment is to run on."""

    chip: Accelerator | None
    resources: Resources
    rates: Path | None
    efficiency: float | None

    @property
    def limit(self) -> float | None:
        """Bytes of one accelerator that training may use."""
        return None if self.chip is None else USABLE * self.chip.memory_gib * 2**30

    def speed(self, precision: Precision) -> Rates | None:
        """The measured rates, or shares of the accelerator's peaks."""
        if self.rates is not None:
            return measured(self.rates, precision, self.efficiency)
        return None if self.chip is None else assumed(self.chip, precision, self.efficiency)


def estimate(
    experiment: Experiment,
    *,
    accelerator: str | None = None,
    nnodes: int = 1,
    nproc_per_node: int = 8,
    rates: str | os.PathLike[str] | None = None,
    efficiency: float | None = None,
) -> Estimate:
    """Estimate parameters, memory, communication and time, without a GPU and without torch.

    `accelerator` is what it runs on, such as `MI300X`; without it and without `rates`, the file that `primus doctor
    --json` has printed, there is no time. `efficiency` is the part of the GEMM rate that training reaches. Raises
    ExperimentError with all problems when the experiment can't be used so."""
    target = target_of(accelerator, nnodes, nproc_per_node, rates, efficiency)
    prepared = judge(experiment, resources=target.resources, environ=os.environ)
    prepared.usable()
    return estimate_on(target, prepared)


def layouts(
    experiment: Experiment,
    *,
    accelerator: str,
    nnodes: int = 1,
    nproc_per_node: int = 8,
    rates: str | os.PathLike[str] | None = None,
    efficiency: float | None = None,
) -> Layouts:
    """Search for the layouts of an experiment that fit, best first. Takes and raises what estimate() does."""
    target = target_of(accelerator, nnodes, nproc_per_node, rates, efficiency)
    return layouts_on(target, judge(experiment, environ=os.environ))


def target_of(
    accelerator: str | None,
    nnodes: int,
    nproc_per_node: int,
    rates: str | os.PathLike[str] | None,
    efficiency: float | None,
) -> Target:
    """UsageError when there is no such accelerator, or are not so many anywhere."""
    if nnodes * nproc_per_node > _MOST:
        raise UsageError(f"{nnodes:,} nodes of {nproc_per_node:,}: {_MOST:,} accelerators are the most")
    chip = None if accelerator is None else accelerator_of(accelerator)
    kind = "nvidia" if chip is not None and chip.name.startswith("NVIDIA") else "amd"
    return Target(
        chip=chip,
        resources=Resources(nnodes=nnodes, nproc_per_node=nproc_per_node, accelerator=kind),
        rates=None if rates is None else Path(rates),
        efficiency=efficiency,
    )


def estimate_on(target: Target, prepared: Prepared) -> Estimate:
    """Of an experiment with errors, as far as its values make sense."""
    resources = target.resources
    try:
        account = prepared.backend.account(prepared.experiment, resources.world_size)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        if prepared.errors:
            raise ExperimentError(prepared.errors) from None
        raise
    speed, timing = target.speed(account.precision), None
    if speed is not None:
        timing = step_time(account, speed, devices=resources.world_size, per_node=resources.nproc_per_node)
    return Estimate(
        account=account,
        timing=timing,
        limit=target.limit,
        accelerator="" if target.chip is None else target.chip.name,
        source=None if speed is None else speed.source,
    )


def layouts_on(target: Target, prepared: Prepared) -> Layouts:
    """Of an experiment that was checked without resources, since its own layout does not matter."""
    if target.limit is None:
        raise UsageError("--search needs --accelerator NAME, such as MI300X: its memory decides what fits.")
    experiment, resources = prepared.usable(), target.resources
    speed = target.speed(prepared.backend.account(experiment, resources.world_size).precision)
    assert speed is not None  # there is an accelerator
    found = search(prepared.backend, experiment, resources, limit=target.limit, rates=speed, shown=SHOWN)
    return Layouts(found=found, source=speed.source)

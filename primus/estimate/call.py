"""`primus.estimate`: what an experiment will need, from Python."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.backends.account import Account
from primus.backends.prepare import judge
from primus.estimate.rates import Rates, accelerator_of, assumed, measured
from primus.estimate.search import USABLE
from primus.estimate.show import as_data, as_text
from primus.estimate.timing import Timing, step_time
from primus.experiment import Experiment
from primus.job import Resources


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
    chip = None if accelerator is None else accelerator_of(accelerator)
    kind = "nvidia" if chip is not None and chip.name.startswith("NVIDIA") else "amd"
    resources = Resources(nnodes=nnodes, nproc_per_node=nproc_per_node, accelerator=kind)
    prepared = judge(experiment, resources=resources, environ=os.environ)
    account = prepared.backend.account(prepared.usable(), resources.world_size)
    speed: Rates | None = None
    if rates is not None:
        speed = measured(Path(rates), account.precision, efficiency)
    elif chip is not None:
        speed = assumed(chip, account.precision, efficiency)
    devices = resources.world_size
    return Estimate(
        account=account,
        timing=None if speed is None else step_time(account, speed, devices=devices, per_node=nproc_per_node),
        limit=None if chip is None else USABLE * chip.memory_gib * 2**30,
        accelerator="" if chip is None else chip.name,
        source=None if speed is None else speed.source,
    )

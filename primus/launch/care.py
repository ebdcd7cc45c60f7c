"""What a user may choose about a job that hangs, fails or is asked to stop: options of `primus train` fill it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OnStall = Literal["wait", "kill"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Care:
    """How the launcher looks after its workers."""

    stall_timeout: float | None = None
    """Seconds without a step after which the job counts as stalled; None for the rule of stall.py, 0 for never."""

    on_stall: OnStall = "wait"
    """What comes after the report of a stall."""

    max_restarts: int = 0
    """How often the job is started again after a failure that can pass."""

    rendezvous_timeout: float = 600.0
    """Seconds that the nodes wait for each other, as long as torchrun does by default."""

    grace: float = 30.0
    """Seconds between the request to stop and the kill: what SLURM (KillWait), Kubernetes and torchrun allow by
    default."""

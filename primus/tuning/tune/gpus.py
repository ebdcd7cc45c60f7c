"""The GPUs of this machine as workers get them: each process sees one, whatever hides or reorders them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HIP = "HIP_VISIBLE_DEVICES"
ROCR = "ROCR_VISIBLE_DEVICES"
ALIAS = "CUDA_VISIBLE_DEVICES"
"""HIP takes it when HIP_VISIBLE_DEVICES is not set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU that a worker owns."""

    number: int
    """Among those that are visible here, from 0."""

    chosen: str
    """What HIP_VISIBLE_DEVICES must be to see this one alone."""

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process that sees this GPU only. ROCR_VISIBLE_DEVICES stays: HIP counts within it."""
        return {**{name: value for name, value in environ.items() if name != ALIAS}, HIP: self.chosen}


def visible_gpus(count: int, environ: Mapping[str, str]) -> list[Gpu]:
    """Those that a process with this environment sees, `count` in all by its own words; none of them twice."""
    listed = environ.get(HIP, environ.get(ALIAS))
    names = [str(number) for number in range(count)] if listed is None else listed.split(",")[:count]
    unique = dict.fromkeys(name.strip() for name in names if name.strip())
    return [Gpu(number=number, chosen=name) for number, name in enumerate(unique)]


def physical(gpu: Gpu, environ: Mapping[str, str]) -> str:
    """Its number or UUID among all of this machine, for one that is visible to a process with this environment."""
    within = [name.strip() for name in environ[ROCR].split(",")] if ROCR in environ else []
    if gpu.chosen.isdecimal() and int(gpu.chosen) < len(within):
        return within[int(gpu.chosen)]
    return gpu.chosen


def how_hidden(environ: Mapping[str, str]) -> str:
    """The variables that hide GPUs, for messages; empty when none does."""
    return " ".join(f"{name}={environ[name]}" for name in (ROCR, HIP, ALIAS) if name in environ)

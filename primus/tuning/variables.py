"""The variables of hipBLASLt, Transformer Engine and PyTorch that stages 1 and 3 set, and those that they take away,
each with the reason. stage1.py and stage3.py put them into the job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from primus.job import Variable
from primus.tuning.child import OVERRIDE_FILE

LOG_LEVEL = "HIPBLASLT_LOG_LEVEL"
LOG_MASK = "HIPBLASLT_LOG_MASK"
LOG_FILE = "HIPBLASLT_LOG_FILE"

LAUNCHES = 32
"""Bit of the log mask: a line for each launch, as the bench would be called."""

PROFILE = 64
"""Bit of the log mask: a line for each problem with its calls, when a process ends."""

PROFILE_SINCE = 1200
"""hipblasLtGetVersion of the first releases that know it: 0.12, of ROCm 6.4."""

_RUNTIME_TUNER = {
    "HIPBLASLT_TUNING_MODE": "the library's own tuner, which runs other kernels than those chosen",
    "HIPBLASLT_TUNING_CACHE_PATH": "it belongs to the library's own tuner",
}

_ENGINE = {
    "TE_HIPBLASLT_TUNING": "Transformer Engine would tune while it trains",
    "TE_HIPBLASLT_TUNING_ALGO_COUNT": "it belongs to Transformer Engine's tuning",
    "TE_HIPBLASLT_TUNING_ALGO_FILE": "it belongs to Transformer Engine's tuning",
    "TE_HIPBLASLT_ALGO_SELECTION": "Transformer Engine would take another than the library's first choice",
    "TE_HIPBLASLT_ALGO_LOAD": "Transformer Engine would take its own choices from a file",
    "TE_HIPBLASLT_ALGO_SAVE": "Transformer Engine would replace the file with what it sees now",
}

_TORCH = {"PYTORCH_TUNABLEOP_ENABLED": "PyTorch would choose kernels itself, and launch all of them while it tunes"}

NOT_FOR_DUMPING: Mapping[str, str] = {
    LOG_LEVEL: "where it is set, even to 0, the library does not read the mask and dumps nothing",
    OVERRIDE_FILE: "the dump shall show the library's own choices; an empty value counts as a file, too",
    "HIPBLASLT_TUNING_FILE": "stage 2 sets it for the bench",
    **_RUNTIME_TUNER,
    **_ENGINE,
    **_TORCH,
}
"""What stage 1 takes away."""

NOT_WITH_A_FILE: Mapping[str, str] = {
    **{name: f"{reason}; it excludes an override file" for name, reason in _RUNTIME_TUNER.items()},
    **_ENGINE,
    **_TORCH,
}
"""What stage 3 takes away."""

NOT_FOR_QUESTIONS: Mapping[str, str] = {
    **NOT_WITH_A_FILE,
    **dict.fromkeys((LOG_LEVEL, LOG_MASK, LOG_FILE), "the library shall answer, and log nothing"),
}
"""What a process does not have that asks the library, or tunes with it."""


def for_dumping(folder: Path, *, version: int | None) -> tuple[Variable, ...]:
    """What makes every process write a file of its own into `folder`. `version` is the library's, where it is known."""
    counted = version is None or version >= PROFILE_SINCE
    mask = LAUNCHES | PROFILE if counted else LAUNCHES
    why = "a line for each GEMM, and at the end the calls of each" if counted else "a line for each GEMM"
    return (
        _firm(1, LOG_MASK, str(mask), why),
        _firm(1, LOG_FILE, str(folder / "gemm_%i.txt"), "one file for each process (%i); sharing one loses lines"),
        _firm(1, *_NO_ENGINE_TUNING),
    )


def for_use(file: Path) -> tuple[Variable, ...]:
    """What makes the library take the winners of a tuning file."""
    return (
        _firm(3, OVERRIDE_FILE, str(file), "the kernels that stage 2 found"),
        _firm(3, *_NO_ENGINE_TUNING),
    )


_NO_ENGINE_TUNING = (
    "TE_HIPBLASLT_TUNING_RUN_COUNT",
    "0",
    "Transformer Engine tunes nothing itself and takes the library's choice",
)


def overruled(added: tuple[Variable, ...], without: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """What a user should know about variables of the environment that do not reach the training."""
    replaced = [
        f"{each.name}={environ[each.name]} gives way to {each.value}: {each.reason}"
        for each in added
        if environ.get(each.name, each.value) != each.value
    ]
    taken = [f"{name}={environ[name]} is left out: {reason}" for name, reason in without.items() if name in environ]
    return replaced + taken


def _firm(stage: int, name: str, value: str, reason: str) -> Variable:
    return Variable(name=name, value=value, reason=reason, source=f"tuning, stage {stage}", firm=True)

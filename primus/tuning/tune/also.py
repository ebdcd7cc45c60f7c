"""The winners for those who pick kernels themselves, on request: Transformer Engine and PyTorch. tuner.py calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from primus.snippet import run_snippet
from primus.tuning.neighbours import TUNABLE_VALIDATORS, write_engine_csv, write_tunable_csv
from primus.tuning.results import Winner
from primus.tuning.tune.engine import Machine
from primus.tuning.tune.folder import Folder
from primus.tuning.tune.request import Also, TuneRequest

_ASK_TORCH = "import json, torch.cuda.tunable as t; print(json.dumps(dict(v[:2] for v in t.get_validators())))"
"""In a process of its own: torch takes seconds to load, and holds a GPU."""

_TORCH_SECONDS = 300.0


def write_also(
    winners: Sequence[Winner], request: TuneRequest, folder: Folder, machine: Machine, environ: Mapping[str, str]
) -> list[str]:
    """What was written and what could not be, for the user."""
    return [
        note for name in sorted(request.also) for note in _WRITERS[name](winners, request, folder, machine, environ)
    ]


def _engine(
    winners: Sequence[Winner], request: TuneRequest, folder: Folder, machine: Machine, environ: Mapping[str, str]
) -> list[str]:
    notes = write_engine_csv(folder.engine_csv, winners, workspace=request.max_workspace)
    return [*notes, f"For Transformer Engine: TE_HIPBLASLT_ALGO_LOAD={folder.engine_csv}"]


def _tunable(
    winners: Sequence[Winner], request: TuneRequest, folder: Folder, machine: Machine, environ: Mapping[str, str]
) -> list[str]:
    validators = _validators(environ)
    if isinstance(validators, str):
        return [f"No file for PyTorch's TunableOp: {validators}"]
    notes: list[str] = []
    for gpu in machine.gpus:
        notes = write_tunable_csv(folder.tunable_of(gpu.number), winners, validators)
    return [*notes, f"For PyTorch: PYTORCH_TUNABLEOP_ENABLED=1 PYTORCH_TUNABLEOP_FILENAME={folder.tunable}"]


def _validators(environ: Mapping[str, str]) -> dict[str, str] | str:
    """What PyTorch on this machine compares a file with; or why that is not known."""
    answer = run_snippet(_ASK_TORCH, environ=environ, seconds=_TORCH_SECONDS)
    if answer is None:
        return f"PyTorch did not say within {_TORCH_SECONDS:g} s what it would compare it with"
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or [f"status {answer.returncode}"])[-1]
        return f"PyTorch could not be asked what it would compare it with: {last}"
    found: dict[str, str] = json.loads(answer.stdout.splitlines()[-1])
    if missing := [name for name in TUNABLE_VALIDATORS if name not in found]:
        return f"this PyTorch does not name its {', '.join(missing)}; it is none for AMD GPUs"
    return found


Writer = Callable[[Sequence[Winner], TuneRequest, Folder, Machine, Mapping[str, str]], list[str]]
_WRITERS: dict[Also, Writer] = {"te": _engine, "tunableop": _tunable}

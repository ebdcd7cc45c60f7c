"""The winners for those who pick kernels themselves, on request: Transformer Engine and PyTorch. tuner.py calls it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from primus.tuning.neighbours import TUNABLE_VALIDATORS, write_engine_csv, write_tunable_csv
from primus.tuning.results import Winner
from primus.tuning.tune.engine import Machine
from primus.tuning.tune.folder import Folder
from primus.tuning.tune.processes import Processes, StoppedError, encoded
from primus.tuning.tune.request import Also, TuneRequest

_ASK_TORCH = """
import json, sys
from torch.cuda.tunable import get_validators
with open(sys.argv[1], "w") as file:
    json.dump(dict(each[:2] for each in get_validators()), file)
"""
"""In a process of its own: torch takes seconds to load, and holds a GPU."""

_TORCH_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Writing:
    """What the writers share."""

    winners: Sequence[Winner]
    request: TuneRequest
    folder: Folder
    machine: Machine
    processes: Processes
    environ: Mapping[str, str]


def write_also(
    winners: Sequence[Winner],
    request: TuneRequest,
    folder: Folder,
    machine: Machine,
    processes: Processes,
    environ: Mapping[str, str],
) -> list[str]:
    """What was written and what could not be, for the user."""
    writing = _Writing(
        winners=winners, request=request, folder=folder, machine=machine, processes=processes, environ=environ
    )
    return [note for name in sorted(request.also) for note in _WRITERS[name](writing)]


def _engine(writing: _Writing) -> list[str]:
    file = writing.folder.engine_csv
    notes = write_engine_csv(file, writing.winners, workspace=writing.request.max_workspace)
    return [*notes, f"For Transformer Engine: TE_HIPBLASLT_ALGO_LOAD={file}"]


def _tunable(writing: _Writing) -> list[str]:
    validators = _validators(writing.processes, writing.environ)
    if isinstance(validators, str):
        return [f"No file for PyTorch's TunableOp: {validators}"]
    notes: list[str] = []
    for gpu in writing.machine.gpus:
        notes = write_tunable_csv(writing.folder.tunable_of(gpu.number), writing.winners, validators)
    return [*notes, f"For PyTorch: PYTORCH_TUNABLEOP_ENABLED=1 PYTORCH_TUNABLEOP_FILENAME={writing.folder.tunable}"]


def _validators(processes: Processes, environ: Mapping[str, str]) -> dict[str, str] | str:
    """What PyTorch on this machine compares a file with; or why that is not known."""
    with tempfile.TemporaryDirectory(prefix="primus-tune-") as name:
        said, answer = Path(name) / "said", Path(name) / "answer"
        command = [sys.executable, "-c", _ASK_TORCH, str(answer)]
        try:
            status = processes.run(command, environ=encoded(environ), output=said, timeout=_TORCH_SECONDS)
        except StoppedError:
            return "it was asked to stop before PyTorch said what it would compare it with"
        if status is None:
            return f"PyTorch did not say within {_TORCH_SECONDS:g} s what it would compare it with"
        if status:
            last = (said.read_text(errors="replace").strip().splitlines() or [f"status {status}"])[-1]
            return f"PyTorch could not be asked what it would compare it with: {last}"
        found: dict[str, str] = json.loads(answer.read_text())
    if missing := [name for name in TUNABLE_VALIDATORS if name not in found]:
        return f"this PyTorch does not name its {', '.join(missing)}; it is none for AMD GPUs"
    return found


_WRITERS: Mapping[Also, Callable[[_Writing], list[str]]] = {"te": _engine, "tunableop": _tunable}

"""Why a dump has no GEMM in it: the likeliest cause, from what is there. stage1.py ends with it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from primus.tuning.hip_find import find_library
from primus.tuning.shapes import Shapes


def why_empty(folder: Path, shapes: Shapes, *, accelerator: str, in_container: bool, environ: Mapping[str, str]) -> str:
    """The error of stage 1. `shapes` is what was read, which has no problem in it."""
    return f"No GEMM was dumped into {folder}: {_cause(shapes, accelerator, in_container, environ)}"


def _cause(shapes: Shapes, accelerator: str, in_container: bool, environ: Mapping[str, str]) -> str:
    if shapes.files and shapes.torn:
        return f"all {shapes.torn} lines are torn ({'; '.join(shapes.examples)}); the disk may be full"
    if shapes.files and shapes.foreign:
        return (
            f"the {shapes.foreign} lines of its {shapes.files} files are not hipBLASLt's; another library has written "
            "them, or a hipBLASLt whose form of the log this Primus does not know"
        )
    if shapes.files:
        return (
            "the library was loaded and has written nothing. Something in the training sets HIPBLASLT_LOG_LEVEL or "
            "HIPBLASLT_LOG_MASK after it has begun (a patch, sitecustomize, the framework)"
        )
    if accelerator != "amd" and find_library("hipblaslt", environ=environ) is None:
        return f"training ran on {_NAMES[accelerator]}, and only AMD GPUs have hipBLASLt"
    torch = None if in_container else _torch()
    if torch is not None and "rocm" not in torch and accelerator == "amd":
        return f"torch {torch} is not built for ROCm, so that it does not call hipBLASLt"
    return (
        "no process has called hipBLASLt. The likeliest cause is that its GEMMs go to rocBLAS, torch's default on some "
        "GPUs (TORCH_BLAS_PREFER_HIPBLASLT=1 changes that); else the torch of this "
        f"{'image' if in_container else 'machine'} has no hipBLASLt"
    )


_NAMES = {"cpu": "CPUs", "nvidia": "NVIDIA GPUs", "amd": "AMD GPUs"}


def _torch() -> str | None:
    try:
        return version("torch")
    except PackageNotFoundError:
        return None

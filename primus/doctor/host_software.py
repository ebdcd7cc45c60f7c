"""Versions of packages and libraries that training uses, and what a child finds when it imports torch. host.py calls
it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.doctor.host_system import read
from primus.manifest import packages

_PACKAGES = (
    *("torch", "megatron-core", "torchtitan", "transformer-engine", "transformer_engine", "flash-attn", "flash_attn"),
    *("triton", "pytorch-triton-rocm", "aiter", "apex", "numpy", "torchao", "tokenizers", "primus"),
)

_LIBRARIES = {
    "opt/rocm/lib": ("libamdhip64", "librccl", "libhipblaslt", "librocblas", "libMIOpen", "librccl-net"),
    "usr/local/cuda/lib64": ("libcudart", "libcublas", "libcublasLt"),
    "usr/lib/x86_64-linux-gnu": ("libnccl", "libibverbs", "libcuda"),
}

_TORCH_SECONDS = 80.0

_ASK_TORCH = """\
import json, time
begin = time.perf_counter()
import torch
facts = {"seconds": round(time.perf_counter() - begin, 3), "version": torch.__version__, "cuda": torch.version.cuda}
facts["hip"] = torch.version.hip
facts["devices"] = torch.cuda.device_count()
facts["distributed"] = torch.distributed.is_available()
if facts["distributed"] and torch.distributed.is_nccl_available():
    facts["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
print(json.dumps(facts))
"""


def software_facts(root: Path) -> dict[str, Any]:
    """Python, the packages that matter, and libraries of ROCm or CUDA with the version in their file's name."""
    import platform

    installed = packages()
    named = {name: version for name, version in installed.items() if name.lower() in _PACKAGES}
    libraries = {
        name: version
        for folder, names in _LIBRARIES.items()
        for name in names
        if (version := _library_version(root / folder, name))
    }
    cuda = re.search(r'"version"\s*:\s*"([\d.]+)"', read(root / "usr/local/cuda/version.json"))
    if cuda:
        libraries["cuda"] = cuda[1]
    return {"python": platform.python_version(), "packages": named, "libraries": libraries}


def torch_facts(environ: Mapping[str, str]) -> dict[str, Any]:
    """What a child process of this Python finds: `seconds` to import torch and what that knows, or `missing`."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH],
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=_TORCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"missing": f"`import torch` did not end within {_TORCH_SECONDS:.0f} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return {"missing": last[0]}
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _library_version(folder: Path, name: str) -> str:
    """The longest version among `libname.so.1`, `libname.so.1.2.3`."""
    found = [path.name.removeprefix(f"{name}.so.") for path in folder.glob(f"{name}.so.*")]
    return max(found, key=len, default="")

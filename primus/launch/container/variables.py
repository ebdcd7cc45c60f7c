"""Which variables a container gets: the user's that training reads, what Primus adds, and nothing of the rest, since
PATH or LD_LIBRARY_PATH of this machine would break the image. Pure; prepare.py calls it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from primus.job import Job
from primus.launch.container.request import RuntimeName
from primus.launch.render import additions

PREFIXES = (
    "PRIMUS_",
    *("NCCL_", "RCCL_", "MSCCLPP_", "MSCCL_", "GLOO_", "UCX_", "FI_"),
    *("HSA_", "HIP_", "ROCR_", "GPU_", "AMD_", "HIPBLASLT_", "ROCBLAS_", "MIOPEN_", "TENSILE_"),
    *("TORCH", "PYTORCH_", "TRITON_", "TE_", "NVTE_"),
    *("WANDB_", "MLFLOW_", "HF_", "HUGGING_FACE_", "TRANSFORMERS_", "TOKENIZERS_"),
)
NAMES = (
    *("DATA_PATH", "MEGATRON_PATH"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
)
UNSET = "PRIMUS_UNSET"
"""Names what enter.py takes away inside."""

_OF_A_LAUNCHER = frozenset({"PRIMUS_PARENT_PID", "TORCHELASTIC_ERROR_FILE"})
"""They describe a process outside of the container."""

_LONGEST_LINE = 32_000
"""Bytes. The runtimes read a file of variables by lines, up to 64 KiB each."""


def container_environment(
    job: Job, environ: Mapping[str, str], image: Mapping[str, str], runtime: RuntimeName
) -> dict[str, str]:
    """Every variable that is set in the container, over those of the image."""
    passed = {name: value for name, value in environ.items() if _is_passed(name) and name not in job.without}
    added = additions(job, environ, image)
    if job.without:
        added[UNSET] = ",".join(job.without)  # the image may set them, and no runtime takes that away
    if "HF_HOME" not in {*passed, *added, *image}:
        added["HF_HOME"] = str(Path(environ.get("HOME", "/root")) / ".cache/huggingface")
    if runtime == "apptainer":
        added["PYTHONNOUSERSITE"] = "1"  # the user's own packages are of another Python
    return dict(sorted((passed | added).items()))


def split(variables: Mapping[str, str], runtime: RuntimeName) -> tuple[str, list[str]]:
    """The text of the file of variables, and the names of those that can't stand in it: the runtime takes them from its
    own environment."""
    if runtime == "apptainer":  # a shell reads it
        return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()), []
    by_name = [name for name, value in variables.items() if not _fits(value)]
    return "".join(f"{name}={value}\n" for name, value in variables.items() if name not in by_name), by_name


def _is_passed(name: str) -> bool:
    return (name.startswith(PREFIXES) or name in NAMES) and name not in _OF_A_LAUNCHER


def _fits(value: str) -> bool:
    return not set("\n\r\0") & set(value) and len(value.encode(errors="surrogateescape")) < _LONGEST_LINE

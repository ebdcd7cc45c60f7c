"""Everything that torchtitan needs to run without a GPU, and the only place that knows about it. The worker calls
install() and adjust() when torch sees no GPU, and never imports this module otherwise. Nothing on disk changes."""

from __future__ import annotations

import logging
import os
import resource
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule


def install() -> None:
    """Replace what needs a GPU, before torchtitan is imported, and say what."""
    # torchtitan asks for autocast to float32 when that is the type anyway, which torch turns off with a warning.
    warnings.filterwarnings("ignore", message="In CPU autocast, but the target dtype is not supported")
    # Its share of the peak FLOPS of a GPU means nothing here.
    logging.getLogger().addFilter(lambda record: not record.getMessage().startswith("Peak flops undefined for: cpu"))
    for patch, what in _PATCHES.items():
        if patch():
            print(f"CPU: {what}")


def adjust(model_parts: Sequence[torch.nn.Module]) -> None:
    """Replace what a built model would do on a GPU."""
    if _add_up_before_scaling(model_parts):
        print("CPU: FSDP adds gradients up, then scales them (gloo can't do both at once)")


def device() -> SimpleNamespace:
    """The functions of torch.cuda that torchtitan calls, for the CPU."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        current_device=lambda: 0,
        set_device=lambda device: None,
        synchronize=lambda device=None: None,
        empty_cache=lambda: None,
        get_device_name=lambda device=None: "cpu",
        get_device_properties=lambda device=None: SimpleNamespace(name="cpu", total_memory=memory),
        reset_peak_memory_stats=lambda device=None: None,
        memory_stats=_memory_stats,
    )


def _memory_stats(device: Any = None) -> dict[str, int]:
    """The most memory that the process had, under the names of torch.cuda.memory_stats."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"active_bytes.all.peak": peak, "reserved_bytes.all.peak": peak, "num_alloc_retries": 0, "num_ooms": 0}


def _bind_device() -> bool:
    # Without a GPU torchtitan takes CUDA all the same. It asks torch once, while it is imported, and its modules copy
    # the answer.
    names = ("_get_available_device_type", "_get_device_module")
    torch_utils: Any = torch._utils
    originals = [getattr(torch_utils, name) for name in names]
    torch_utils._get_available_device_type = lambda: "cpu"
    torch_utils._get_device_module = lambda kind: _CPU
    try:
        from torchtitan.tools import utils
    finally:
        for name, original in zip(names, originals, strict=True):
            setattr(torch_utils, name, original)
    if utils.device_module is not _CPU:
        raise RuntimeError("torchtitan was imported before the CPU adapter, and has chosen its device")
    return True


def _sort_tokens_without_triton() -> bool:
    # torchtitan imports its triton kernels with everything. They sort tokens by expert; beside them stands a form for
    # CPUs, which nothing calls. Loaded by its file, since its package asks for it at once.
    name, package = "torchtitan.models.moe.kernels", find_spec("torchtitan")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0], "models", "moe", "kernels.py")
    if not path.exists():  # in a checkout of another version
        return False
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    kernels: Any = module_from_spec(spec)
    with _stand_in_for_triton():
        spec.loader.exec_module(kernels)
    kernels.generate_permute_indices = partial(kernels.generate_permute_indices, use_cpu=True)
    sys.modules[name] = kernels
    return True


@contextmanager
def _stand_in_for_triton() -> Iterator[None]:
    """What a module needs to define kernels that nobody runs; only in here, so that torch finds no triton."""
    if find_spec("triton") is not None:
        yield
        return
    triton: Any = ModuleType("triton")
    triton.jit = lambda kernel: kernel
    triton.language = ModuleType("triton.language")
    triton.language.constexpr = object
    sys.modules |= {"triton": triton, "triton.language": triton.language}
    try:
        yield
    finally:
        del sys.modules["triton"], sys.modules["triton.language"]


def _count_integers() -> bool:
    # Routers count the tokens of each expert with torch.histc on integers, which exists for GPUs only.
    original = torch.histc

    def histc(input: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        if input.is_floating_point():
            return original(input, *arguments, **options)
        return original(input.float(), *arguments, **options).to(input.dtype)

    module: Any = torch
    module.histc = histc
    return True


def _profile_one_device() -> bool:
    # torchtitan hands the profiler [CPU, GPU], and None for the GPU that is not there.
    original = torch.profiler.profile

    def profile(*, activities: Sequence[Any], **options: Any) -> Any:
        return original(activities=[each for each in activities if each is not None], **options)

    module: Any = torch.profiler
    module.profile = profile
    return True


def _add_up_before_scaling(model_parts: Sequence[torch.nn.Module]) -> bool:
    # FSDP reduces gradients with PREMUL_SUM, an operation of NCCL that gloo does not have.
    sharded = [module for part in model_parts for module in part.modules() if isinstance(module, FSDPModule)]
    for module in sharded:
        module.set_force_sum_reduction_for_comms(True)
    return bool(sharded)


_CPU = device()

_PATCHES: dict[Callable[[], bool], str] = {
    _sort_tokens_without_triton: "tokens are sorted by expert without triton",
    _bind_device: "torchtitan's device is the CPU; memory is that of the process",
    _count_integers: "torch.histc counts integers as floats",
    _profile_one_device: "the profiler records the CPU alone",
}
"""What install() does, in this order, and how it says so."""

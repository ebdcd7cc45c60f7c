"""What Megatron-LM's own training needs without a GPU, besides what megatron.core needs (../cpu.py). The worker applies
prepare() before megatron is imported and install() after."""

from __future__ import annotations

import functools
import sys
import types
from importlib.util import find_spec
from typing import Any

import torch
from torch.utils._triton import has_triton_package

from primus.backends.megatron.patches import Patches

patch = Patches("CPU")
install = patch.install


def prepare() -> None:
    """Stand-ins for packages that are imported at the top of modules, and only used on a GPU."""
    if find_spec("triton") is None:
        print("CPU: a stand-in for triton, which is not installed: its kernels run on GPUs only")
        has_triton_package()  # torch remembers the answer, and would use the stand-in otherwise
        for name in ("triton", "triton.language"):
            sys.modules[name] = _Anything(name)
        sys.modules["triton"].language = sys.modules["triton.language"]  # type: ignore[attr-defined]


@patch("initialize_megatron", "it stops where there is no GPU")
def _no_gpu_is_fine() -> None:
    from megatron.training import initialize, training

    for module in (initialize, training):
        if hasattr(module, "initialize_megatron"):
            original = module.initialize_megatron
            module.initialize_megatron = functools.partial(original, allow_no_cuda=True)


@patch("torch.cuda: devices, memory and properties", "it asks for them, mostly to print them")
def _device_facts() -> None:
    cuda: Any = torch.cuda
    properties = types.SimpleNamespace(name="CPU", major=0, minor=0, total_memory=0, multi_processor_count=1)
    cuda.device_count = lambda: 1  # without one, it makes no groups of processes
    cuda.get_device_properties = lambda device=None: properties
    cuda.get_device_capability = lambda device=None: (0, 0)
    cuda.memory_stats = lambda device=None: {}
    cuda.device_memory_used = lambda device=None: 0
    cuda.empty_cache = lambda: None


@patch("set_jit_fusion_options", "it warms kernels of a GPU up")
def _no_warm_up() -> None:
    from megatron.training import initialize, training

    for module in (initialize, training):
        if hasattr(module, "set_jit_fusion_options"):
            module.set_jit_fusion_options = lambda *arguments, **options: None


class _Anything(types.ModuleType):
    """A module in which every name is a decorator that changes nothing."""

    __version__ = "3.4.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _decorator


def _decorator(function: Any = None, *arguments: Any, **options: Any) -> Any:
    return function if callable(function) else _decorator

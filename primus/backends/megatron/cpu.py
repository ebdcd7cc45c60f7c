"""Everything that megatron.core needs to run without a GPU, and the only place that knows about it. The worker calls
install() and adjust() when torch sees no GPU, and never imports this module otherwise. Nothing on disk changes."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from primus.backends.megatron.patches import Patches

CPU = torch.device("cpu")

patch = Patches("CPU")


def install() -> None:
    """Replace what needs a GPU, for the rest of this process."""
    warnings.filterwarnings("ignore", message=".*Falling back to")  # megatron's, for each fused kernel that is missing
    patch.install()


def adjust(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as they can be used here; what else needs a GPU was refused before the launch."""
    print("CPU: use_cpu_initialization is true: initial weights are drawn on a GPU otherwise")
    return {**values, "use_cpu_initialization": True}


@patch("torch.compile", "compiling megatron's small functions takes longer than it saves, and needs a C++ compiler")
def _no_compilation() -> None:
    # First, since functions are decorated when their modules are imported.
    def compile_nothing(function: Any = None, **options: Any) -> Any:
        return function if function is not None else lambda decorated: decorated

    module: Any = torch
    module.compile = compile_nothing


@patch("torch.cuda: device, streams, synchronisation", "there is one device and nothing asynchronous on it")
def _one_device() -> None:
    # A function of its own for each name: torch's compiler wants to tell them apart.
    cuda: Any = torch.cuda
    cuda.current_device = lambda: CPU
    cuda.set_device = lambda device: None
    cuda.synchronize = lambda device=None: None
    cuda.Stream, cuda.Event, cuda.stream = (type(name, (_Nothing,), {}) for name in ("Stream", "Event", "stream"))
    cuda.current_stream = lambda device=None: _Nothing()
    cuda.default_stream = lambda device=None: _Nothing()


@patch("torch.cuda: random numbers", "megatron's tracker keeps the states of a GPU's generator")
def _one_generator() -> None:
    from megatron.core.tensor_parallel import random

    def get_state(device: Any = None, clone: bool = False, graph_safe: bool = False) -> torch.Tensor:
        return torch.get_rng_state()

    def set_state(state: torch.Tensor, device: Any = None, graph_safe: bool = False) -> None:
        torch.set_rng_state(state)

    cuda: Any = torch.cuda
    cuda.get_rng_state, cuda.set_rng_state = get_state, set_state
    cuda.manual_seed = torch.default_generator.manual_seed
    random._get_cuda_rng_state, random._set_cuda_rng_state = get_state, set_state
    # It warns of every fork, since the generators of both kinds are the same one now.
    logging.getLogger(random.__name__).addFilter(lambda record: "CPU RNG state changed" not in record.getMessage())


@patch("torch.tensor, zeros, ones, empty and empty_like", "megatron asks for device='cuda' by name")
def _tensors_on_cpu() -> None:
    module: Any = torch
    for name in ("tensor", "zeros", "ones", "empty", "empty_like"):
        setattr(module, name, _on_cpu(getattr(module, name)))


@patch("torch.Tensor.cuda and type", "megatron's optimizers take tensors of type torch.cuda.FloatTensor only")
def _tensor_methods() -> None:
    tensor: Any = torch.Tensor
    original = tensor.type

    def type_of(self: torch.Tensor, dtype: Any = None, *rest: Any, **options: Any) -> Any:
        if dtype is None:
            return original(self).replace("torch.", "torch.cuda.", 1)
        return original(self, dtype, *rest, **options)

    tensor.cuda = lambda self, *rest, **options: self
    tensor.type = type_of


@patch("maybe_move_tensor_to_cpu", "experts exchange tokens by sizes in numpy, into which it turns GPU tensors only")
def _sizes_in_numpy() -> None:
    from megatron.core.transformer.moe import token_dispatcher

    def move(tensor: Any, as_numpy: bool = False, record_stream: bool = False) -> Any:
        return tensor.numpy() if as_numpy and torch.is_tensor(tensor) else tensor

    token_dispatcher.maybe_move_tensor_to_cpu = move


@patch("torch.distributed: all_gather, reduce_scatter", "gloo wants equal parts, and experts get unequal ones")
def _unequal_parts() -> None:
    import torch.distributed as dist

    gather, scatter = dist.all_gather, dist.reduce_scatter

    def all_gather(parts: list[torch.Tensor], own: torch.Tensor, group: Any = None, async_op: bool = False) -> Any:
        if _equal(parts):
            return gather(parts, own, group, async_op)
        parts[dist.get_rank(group)].copy_(own)
        for rank, part in enumerate(parts):
            dist.broadcast(part, group=group, group_src=rank)
        return None

    def reduce_scatter(own: torch.Tensor, parts: list[torch.Tensor], *rest: Any, group: Any = None) -> Any:
        if _equal(parts):
            return scatter(own, parts, *rest, group=group)
        for rank, part in enumerate(parts):
            total = part.clone()
            dist.reduce(total, group=group, group_dst=rank)
            if rank == dist.get_rank(group):
                own.copy_(total)
        return None

    dist.all_gather, dist.reduce_scatter = all_gather, reduce_scatter


def _equal(parts: list[torch.Tensor]) -> bool:
    return len({part.shape for part in parts}) == 1


def _on_cpu(create: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    @functools.wraps(create)
    def created(*arguments: Any, **options: Any) -> torch.Tensor:
        if str(options.get("device")).startswith("cuda"):
            options["device"] = CPU
        return create(*arguments, **options)

    return created


class _Nothing:
    """A stream, an event or a context that does nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., _Nothing]:
        return lambda *arguments, **options: self

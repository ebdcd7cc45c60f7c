"""init_model_with_meta_device: a model is built without memory for its weights, gets the memory that it keeps (with the
distributed optimizer, the buffers that its processes share), and only then its initial weights. model.py calls this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from megatron.core.models.common.language_module.language_module import LanguageModule
from torch.nn import Module, Parameter

Places = dict[tuple[Module, str], int]
"""The modules and names at which a model got its parameters, numbered in that order."""

DRAWING = ("init_method", "output_layer_init_method", "embedding_init_method")
"""What draws weights, in TransformerConfig."""


class MetaModel:
    """One chunk of the model, whose weights come later."""

    def __init__(self, build: Callable[[], Module], config: Any, device: torch.device) -> None:
        self._build = build
        self.module, self._places = _build_on_meta(build, config)
        # Buffers have their values already; weights can't be moved.
        self.module._apply(lambda tensor: tensor if tensor.is_meta else tensor.to(device))

    def fill(self, *, draw: bool) -> None:
        """Give memory to the weights that have none yet, and initial values if `draw`."""
        for weight in self.module.parameters():
            if weight.untyped_storage().nbytes() < weight.nbytes:
                weight.data = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
        if draw:
            self._draw()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _draw(self) -> None:
        """Build the model once more, with its weights in their final memory: they are drawn there by the same code, in
        the same order and from the same generators as without the meta device."""
        own = [module._parameters.get(name) for module, name in self._places]

        def lend(index: int, weight: Parameter) -> None:
            final = own[index]
            if final is not None and (final.dtype, final.device) == (weight.dtype, weight.device):
                weight.data = final.data

        with _registered(lend) as places:
            self._build()
        for (first, name), final, (module, again) in zip(self._places, own, places, strict=True):
            weight = module._parameters.get(again)
            if type(first) is not type(module) or name != again or (final is None) != (weight is None):
                raise RuntimeError(f"the second model has {type(module)}.{again} in the place of {type(first)}.{name}")
            # It has a memory of its own when it was drawn in another type or on another device.
            if final is not None and weight is not None and weight.data_ptr() != final.data_ptr():
                final.copy_(weight)


@torch.no_grad()  # type: ignore[untyped-decorator]
def hold_places(module: Module, device: torch.device) -> None:
    """Put weights of one element that pretends to be all of them in the place of those on the meta device.

    megatron.core can copy them into its buffers, which it can't do with the meta device's.
    """
    for weight in list(module.parameters()):
        if weight.is_meta:
            _replace(weight, torch.zeros((), dtype=weight.dtype, device=device).expand(weight.shape))


def _build_on_meta(build: Callable[[], Module], config: Any) -> tuple[Module, Places]:
    def forget(index: int, weight: Parameter) -> None:
        if not weight.is_meta:
            _replace(weight, torch.empty_like(weight, device="meta"))

    in_group, drawing = LanguageModule._is_in_embd_group, {name: getattr(config, name) for name in DRAWING}
    # The stages that share an embedding make theirs equal while they are built, which needs weights.
    LanguageModule._is_in_embd_group = lambda self: False
    # perform_initialization false would be shorter, but then megatron.core does not mark which weights are divided.
    for name in DRAWING:
        setattr(config, name, lambda weight: None)
    try:
        with _registered(forget) as places:
            return build(), places
    finally:
        LanguageModule._is_in_embd_group = in_group
        for name, method in drawing.items():
            setattr(config, name, method)


@contextmanager
def _registered(handle: Callable[[int, Parameter], None]) -> Iterator[Places]:
    """Call `handle` with each parameter that a module gets meanwhile, and with the number of its place."""
    places: Places = {}
    original: Any = Module.register_parameter

    def register(self: Module, name: str, param: Parameter | None) -> None:
        original(self, name, param)
        if param is not None:
            handle(places.setdefault((self, name), len(places)), param)

    kind: Any = Module
    kind.register_parameter = register
    try:
        yield places
    finally:
        kind.register_parameter = original


def _replace(weight: Parameter, data: torch.Tensor) -> None:
    """Give a parameter another tensor, of any device; it stays the same object and keeps megatron's marks."""
    other = Parameter(data, requires_grad=weight.requires_grad)
    other.__dict__.update(weight.__dict__)
    torch.utils.swap_tensors(weight, other)

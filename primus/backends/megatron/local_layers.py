"""What is missing in megatron.core 0.16's own layers, which it uses without Transformer Engine. The worker installs
these when the experiment runs on the `local` implementation, with or without a GPU."""

from __future__ import annotations

import copy
from typing import Any

from primus.backends.megatron.patches import Patches

patch = Patches("Local layers")
install = patch.install


@patch("WrappedTorchNorm", "it refuses sequence parallelism, where its weights' gradients only have to be summed up")
def _norms_in_sequence_parallel() -> None:
    from megatron.core.transformer.torch_norm import WrappedTorchNorm

    original = WrappedTorchNorm.__new__

    def new(cls: type, config: Any, *arguments: Any, **options: Any) -> Any:
        plain = copy.copy(config)
        plain.sequence_parallel = False
        norm = original(cls, plain, *arguments, **options)
        for parameter in norm.parameters():
            parameter.sequence_parallel = config.sequence_parallel
        return norm

    WrappedTorchNorm.__new__ = new


@patch("DotProductAttention", "latent attention tells it the sizes of keys and values, which it does not take")
def _attention_with_other_value_size() -> None:
    from megatron.core.transformer.dot_product_attention import DotProductAttention

    original = DotProductAttention.__init__

    def init(
        self: Any, *arguments: Any, k_channels: int | None = None, v_channels: int | None = None, **options: Any
    ) -> None:
        original(self, *arguments, **options)
        if v_channels is not None:
            self.hidden_size_per_partition = v_channels * self.num_attention_heads_per_partition

    DotProductAttention.__init__ = init


@patch("multi_latent_attention.HAVE_TE", "it is true without Transformer Engine, whose layers are no types then")
def _latent_attention_without_engine() -> None:
    from megatron.core.transformer import multi_latent_attention

    if not isinstance(multi_latent_attention.TELinear, type):
        multi_latent_attention.HAVE_TE = False


@patch("moe_utils.te_general_gemm", "the router asks whether it is there, and the name is missing when it is not")
def _router_without_engine() -> None:
    from megatron.core.transformer.moe import moe_utils

    if not hasattr(moe_utils, "te_general_gemm"):
        moe_utils.te_general_gemm = None

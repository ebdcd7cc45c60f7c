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


@patch("MLASelfAttention", "split among processes, its keys' positions get the gradients of one process' heads only")
def _positions_of_all_heads() -> None:
    from megatron.core.tensor_parallel import mappings
    from megatron.core.transformer.multi_latent_attention import MLASelfAttention

    original = MLASelfAttention.__init__

    def whole(projection: Any, inputs: Any, output: tuple[Any, Any]) -> tuple[Any, Any]:
        """Keys, values and positions as a projection that is not split gives them, each process a part of the tokens:
        the layer then puts the positions together itself, which sums their gradients."""
        combined = mappings.gather_from_tensor_model_parallel_region(output[0])
        return mappings.scatter_to_sequence_parallel_region(combined), output[1]

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        if self.config.sequence_parallel:
            self.linear_kv_down_proj.register_forward_hook(whole)

    MLASelfAttention.__init__ = init


@patch("CheckpointWithoutOutput", "recomputing norms asks Transformer Engine about fp8, which these layers never use")
def _recomputation_without_engine() -> None:
    from megatron.core.tensor_parallel.random import CheckpointWithoutOutput

    original = CheckpointWithoutOutput.__init__

    def init(self: Any, fp8: Any = None) -> None:
        original(self, fp8=None)

    CheckpointWithoutOutput.__init__ = init


@patch("moe_utils.te_general_gemm", "the router asks whether it is there, and the name is missing when it is not")
def _router_without_engine() -> None:
    from megatron.core.transformer.moe import moe_utils

    if not hasattr(moe_utils, "te_general_gemm"):
        moe_utils.te_general_gemm = None

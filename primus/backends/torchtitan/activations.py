"""What the backward pass of a torchtitan model waits for: the bytes of every tensor that autograd keeps. No torch.

docs/estimate.md has the formulas. tests/real/estimate measures them on torchtitan's models on a CPU (`local`); on a GPU
(`engine`) norms are one kernel, latent attention is fused too, and experts are multiplied in a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from primus.backends.torchtitan.exchanges import KEEP_EXCHANGED
from primus.backends.torchtitan.layout import Layout
from primus.backends.torchtitan.settings import Settings
from primus.metrics.shape import Attention, Experts, LatentAttention, Layer, ModelShape

FLOAT = 4
INDEX = 8

Implementation = Literal["local", "engine"]

REAL_ANGLES = frozenset({"qwen3", "gpt_oss"})
"""Families whose rotary angles are real numbers, which FSDP takes to the precision of the weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Micro:
    """One micro-batch on one rank, and how its numbers are kept."""

    shape: ModelShape
    sizes: Mapping[str, Any]
    tokens: float
    tensor: int
    width: int
    implementation: Implementation
    visits: float
    """Tokens that arrive at this rank's experts, over its own."""

    mode: str
    """Of activation_checkpoint."""

    every: int
    """Selective recomputation of every so many layers; 0 by operation."""

    repeat_router: bool
    """Recomputation by operation always repeats the router."""

    expert_tensor: int
    exchanged: bool
    """Tokens travel to the experts, which are divided among ranks; recomputation by operation keeps what arrives."""

    angles: float = 0
    """Bytes of the rotary angles that each layer gets a copy of, in its own precision, from FSDP."""

    @property
    def local(self) -> bool:
        return self.implementation == "local"

    @property
    def own(self) -> float:
        """Tokens between the products: tensor parallelism divides them."""
        return self.tokens / self.tensor

    def norm(self, size: float, tokens: float, *, wide: float | None = None) -> float:
        """`wide`: the size of the tensor that what is normalized is a part of."""
        if not self.local:
            return tokens * (self.width * (wide or size) + FLOAT)
        inputs = wide or size if self.width == FLOAT else size
        return tokens * (FLOAT * (inputs + size) + FLOAT)


def micro_batch(
    settings: Settings,
    shape: ModelShape,
    sizes: Mapping[str, Any],
    layout: Layout,
    implementation: Implementation,
    *,
    visits: float | None = None,
) -> Micro:
    """The experts have an even load, unless it is said how many `visits` there are."""
    sequences = settings["training.local_batch_size"]
    if layout.pipeline > 1:
        sequences = settings["parallelism.pipeline_parallel_microbatch_size"]
    option = str(settings["activation_checkpoint.selective_ac_option"])
    repeated = settings["activation_checkpoint.per_op_sac_force_recompute_mm_shapes_by_fqns"]
    half = "bfloat16" in (settings["training.mixed_precision_param"], settings["training.dtype"])
    even = float(shape.experts.active) if shape.experts is not None else 0.0
    copied = half and layout.shard * layout.context > 1
    return Micro(
        shape=shape,
        sizes=sizes,
        tokens=sequences * shape.sequence / layout.context,
        tensor=layout.tensor,
        width=2 if half else FLOAT,
        implementation=implementation,
        visits=even if visits is None else visits,
        mode=settings["activation_checkpoint.mode"],
        every=int(option) if option.isdigit() else 0,
        repeat_router="moe.router.gate" in repeated,
        expert_tensor=layout.expert_tensor if layout.expert > 1 else layout.tensor,
        exchanged=layout.expert > 1 and settings["model.name"] in KEEP_EXCHANGED,
        angles=angle_bytes(settings["model.name"], shape) if copied else 0,
    )


def angle_bytes(family: str, shape: ModelShape) -> float:
    """In half precision."""
    if family not in REAL_ANGLES or not isinstance(shape.attention, Attention):
        return 0.0
    return 2 * shape.sequence * shape.attention.head_size * 2


def kept_bytes(micro: Micro, index: int) -> float:
    """What layer `index` keeps until its backward pass."""
    layer = micro.shape.layers[index]
    if is_whole(micro, index):
        return micro.own * micro.shape.hidden * micro.width + micro.angles
    if micro.mode == "selective" and not micro.every:
        return micro.own * micro.shape.hidden * micro.width + micro.angles + _chosen(micro, layer)
    return layer_bytes(micro, layer)


def is_whole(micro: Micro, index: int) -> bool:
    """Whether the layer is recomputed as a whole."""
    if micro.mode == "full":
        return True
    return micro.mode == "selective" and micro.every > 0 and (index + 1) % micro.every == 0


def layer_bytes(micro: Micro, layer: Layer) -> float:
    """Without recomputation."""
    norms = 2 * micro.norm(micro.shape.hidden, micro.own)
    part = micro.shape.attention
    attention = _attention(micro, part) if isinstance(part, Attention) else _latent(micro, part)
    if layer.experts and micro.shape.experts is not None:
        return norms + attention + _experts(micro, micro.shape.experts)
    inputs = micro.tokens * micro.shape.hidden * micro.width
    return norms + attention + inputs + micro.tokens / micro.tensor * 4 * micro.shape.feed_forward * micro.width


def first_bytes(micro: Micro) -> float:
    return micro.tokens * INDEX


def output_bytes(micro: Micro) -> float:
    """The final norm, the logits and the loss."""
    hidden = micro.shape.hidden
    logits = FLOAT * micro.tokens * micro.shape.vocabulary / micro.tensor
    return micro.norm(hidden, micro.own) + micro.tokens * hidden * micro.width + logits


def logits_workspace(micro: Micro) -> float:
    """Besides what is kept: the logits in the model's own precision."""
    return micro.tokens * micro.shape.vocabulary / micro.tensor * micro.width


def _attention(micro: Micro, part: Attention) -> float:
    query = part.heads * part.head_size / micro.tensor
    key = part.key_value_heads * part.head_size / micro.tensor
    kept = micro.tokens * (micro.shape.hidden + 2 * query + 2 * key) * micro.width
    statistics = micro.tokens * FLOAT * part.heads / micro.tensor
    if micro.sizes.get("qk_norm"):
        heads = (part.heads + part.key_value_heads) / micro.tensor
        sizes = (query + key) * (2 * FLOAT if micro.local else micro.width)
        kept += micro.tokens * (sizes + FLOAT * heads)
    return kept + statistics


def _latent(micro: Micro, part: LatentAttention) -> float:
    rank, width = part.key_value_rank, micro.width
    query = part.heads * (part.plain_size + part.rotary_size) / micro.tensor
    value = part.heads * part.value_size / micro.tensor
    tokens = micro.tokens
    kept = tokens * micro.shape.hidden * width
    if part.query_rank is not None:
        kept += micro.norm(part.query_rank, tokens) + tokens * part.query_rank * width
    kept += micro.norm(rank, tokens, wide=rank + part.rotary_size) + tokens * rank * width
    kept += tokens * (2 * query + value) * width
    heads = part.heads / micro.tensor
    if not micro.local:
        return kept + tokens * (value * width + FLOAT * heads)
    # Without a fused kernel for values of another size than keys: the weights of all pairs of tokens.
    scores = FLOAT if width == FLOAT else width + FLOAT
    results = 1 if width == FLOAT else 2
    return kept + tokens * (results * value * width + heads * micro.shape.sequence * scores)


def _experts(micro: Micro, experts: Experts) -> float:
    hidden, width, tokens = micro.shape.hidden, micro.width, micro.tokens
    router = FLOAT * experts.count + 3 * INDEX * experts.active + FLOAT * experts.active
    before = bool(micro.sizes.get("moe_args.score_before_experts", True))
    # Weighted before or after the experts, in float32, where their tokens are.
    weighted = FLOAT * hidden * experts.active * micro.own * micro.expert_tensor * (1 if before else 2)
    arriving = micro.own * micro.expert_tensor * micro.visits
    inner = 4 * experts.size / micro.expert_tensor * width
    routed = arriving * (hidden * width + inner)
    shared = tokens / micro.tensor * 4 * experts.shared_size * width
    return tokens * hidden * width + tokens * router + weighted + routed + shared


def _chosen(micro: Micro, layer: Layer) -> float:
    """Recomputation by operation: results of every second product with a weight, and of fused attention, are kept."""
    part, tensor = micro.shape.attention, micro.tensor
    if isinstance(part, Attention):
        query, key = part.heads * part.head_size / tensor, part.key_value_heads * part.head_size / tensor
        products = [query, key, key, micro.shape.hidden]
        value = query
    else:
        query = part.heads * (part.plain_size + part.rotary_size) / tensor
        queries = [query] if part.query_rank is None else [part.query_rank, query]
        up = part.heads * (part.plain_size + part.value_size) / tensor
        products = [*queries, part.key_value_rank + part.rotary_size, up, micro.shape.hidden]
        value = part.heads * part.value_size / tensor
    fused = 0.0 if micro.local else micro.tokens * (value * micro.width + FLOAT * part.heads / tensor)
    results = [size * micro.tokens for size in products] + _inner_products(micro, layer)
    scattered = 2 * micro.own * micro.shape.hidden if tensor > 1 else 0.0
    return (sum(results[::2]) + scattered) * micro.width + fused + _exchanged(micro, layer)


def _inner_products(micro: Micro, layer: Layer) -> list[float]:
    """Elements of the results of the products after attention."""
    hidden, experts = micro.shape.hidden, micro.shape.experts
    if not layer.experts or experts is None:
        size = micro.shape.feed_forward / micro.tensor
        return [micro.tokens * each for each in (size, size, hidden)]
    found = [] if micro.repeat_router else [micro.tokens * experts.count]
    if micro.local:
        # One product after another for each expert; on a GPU one kernel that is not among the kept ones.
        each = micro.own * micro.expert_tensor * micro.visits / experts.count
        size = experts.size / micro.expert_tensor
        found += [each * numbers for numbers in (size, size, hidden)] * experts.count
    if experts.shared_size:
        size = experts.shared_size / micro.tensor
        found += [micro.tokens * each for each in (size, size, hidden)]
    return found


def _exchanged(micro: Micro, layer: Layer) -> float:
    """What arrives from other ranks, on the way there and back, is kept."""
    if not layer.experts or not micro.exchanged:
        return 0.0
    arriving = micro.own * (micro.visits + (micro.shape.experts.active if micro.shape.experts else 0))
    return arriving * micro.shape.hidden * micro.width

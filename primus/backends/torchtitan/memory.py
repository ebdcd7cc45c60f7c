"""What a torchtitan run needs of each GPU's memory, worked out from its settings: no torch, nothing allocated.

`primus models` says from it how many GPUs a shipped experiment needs. FSDP2 divides weights, gradients and Adam's
moments among the ranks; two layers at a time are gathered whole. Activations are those of a layer without
recomputation as in Korthikanti et al. 2022 (arXiv:2205.05198), with fused attention and an even load of experts.
"""

from __future__ import annotations

from primus.backends.torchtitan.flavors import sizes_of
from primus.backends.torchtitan.layout import layout_of
from primus.backends.torchtitan.parameters import count_parameters
from primus.backends.torchtitan.settings import Settings
from primus.backends.torchtitan.shape import shape_of
from primus.metrics.shape import Attention, Layer, ModelShape

WIDTH = {"float32": 4, "bfloat16": 2}
"""Bytes of a number."""

STATE = 4
"""Numbers of a parameter that are kept: weight, gradient and Adam's two moments."""

LOGIT = 10
"""Bytes of one logit: in the model's precision, its float32 copy, and the float32 gradient."""


def estimate_memory(settings: Settings, world_size: int) -> int:
    """Bytes on a rank that holds its even part of the model."""
    family, sizes = settings["model.name"], sizes_of(settings) or {}
    shape = shape_of(family, sizes, sequence=settings["training.seq_len"])
    parameters = count_parameters(family, sizes)
    layout = layout_of(settings, world_size)
    shards = layout.shard * layout.context * layout.tensor * layout.pipeline
    kept = STATE * WIDTH[settings["training.dtype"]] * parameters.total // shards
    whole = WIDTH[settings["training.mixed_precision_param"]] + WIDTH[settings["training.mixed_precision_reduce"]]
    gathered = 2 * whole * parameters.largest_layer // (layout.tensor * layout.expert)
    return kept + gathered + _activations(settings, shape, layout.tensor * layout.context, layout.pipeline)


def _activations(settings: Settings, shape: ModelShape, divided: int, pipeline: int) -> int:
    """What the backward pass waits for. A pipeline has as many micro-batches under way as it has stages."""
    tokens = settings["training.local_batch_size"] * shape.sequence // divided
    if pipeline > 1:
        tokens = settings["parallelism.pipeline_parallel_microbatch_size"] * shape.sequence // divided
    boundary = 2 * shape.hidden
    full = [_layer(shape, layer) for layer in shape.layers]
    mode = settings["activation_checkpoint.mode"]
    if mode == "full":
        kept, working = boundary * len(full), max(full)
    else:
        # Selective modes keep less than all; how much depends on the model, so all is counted.
        kept, working = sum(full), 0
    return int(tokens * (kept + working + LOGIT * shape.vocabulary))


def _layer(shape: ModelShape, layer: Layer) -> int:
    """Bytes that one token leaves in one layer, in bfloat16."""
    hidden, part = shape.hidden, shape.attention
    if isinstance(part, Attention):
        query, key_value = part.heads * part.head_size, part.key_value_heads * part.head_size
        attention = 4 * query + 4 * key_value
    else:
        query = part.heads * (part.plain_size + part.rotary_size)
        latent = (part.query_rank or 0) + part.key_value_rank + part.rotary_size
        attention = 4 * latent + 8 * query + 4 * part.heads * part.value_size
    # Input and output of both norms, then attention with the softmax's statistics, then the feed-forward part.
    common = 8 * hidden + attention + 4 * part.heads
    if not layer.experts or shape.experts is None:
        return common + 6 * shape.feed_forward
    experts = shape.experts
    return common + experts.active * (4 * hidden + 6 * experts.size) + 6 * experts.shared_size

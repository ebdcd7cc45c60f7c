"""Contradictions in the model itself: attention, positions, feed-forward layer, latent attention, prediction layers."""

from __future__ import annotations

from primus.backends.megatron.checks.rule import Facts, Rule
from primus.backends.megatron.patterns import expand_pattern

SMALLEST_SWIGLU = 24
"""hidden_size from which 8/3 of it is at least 64; the width is rounded down to multiples of that."""


def query_groups(facts: Facts) -> int:
    """Key-value heads of ordinary attention. Reads group_query_attention, num_query_groups, num_attention_heads."""
    grouped = facts.group_query_attention and facts.num_query_groups
    return int(facts.num_query_groups if grouped else facts.num_attention_heads)


def pattern_fault(facts: Facts, key: str) -> str | None:
    """Why a layer pattern can't be read for num_layers layers, or None."""
    try:
        expand_pattern(facts[key], facts.num_layers)
    except ValueError as error:
        return str(error)
    return None


RULES = (
    Rule(
        keys=("hidden_size", "num_attention_heads", "kv_channels"),
        when=lambda f: f.kv_channels is None and f.hidden_size % f.num_attention_heads != 0,
        say="num_attention_heads {num_attention_heads} does not divide hidden_size {hidden_size}, and kv_channels, "
        "which would give the width of a head, is not set.",
    ),
    Rule(
        keys=("group_query_attention", "num_query_groups", "multi_latent_attention"),
        when=lambda f: f.group_query_attention and not f.num_query_groups and not f.multi_latent_attention,
        say="group_query_attention needs num_query_groups, the number of key-value heads.",
    ),
    Rule(
        keys=("num_query_groups", "num_attention_heads", "group_query_attention", "multi_latent_attention"),
        when=lambda f: not f.multi_latent_attention and f.num_attention_heads % query_groups(f) != 0,
        say="num_query_groups {num_query_groups} does not divide num_attention_heads {num_attention_heads}.",
    ),
    Rule(
        keys=("multi_latent_attention", "group_query_attention", "num_query_groups", "num_attention_heads"),
        when=lambda f: (
            f.multi_latent_attention and f.group_query_attention and query_groups(f) != f.num_attention_heads
        ),
        say="multi-latent attention has no key-value groups: set group_query_attention: false, or "
        "multi_latent_attention: false.",
    ),
    Rule(  # silent: gradients of the shared positions and of the norms are wrong
        keys=("multi_latent_attention", "tensor_model_parallel_size", "sequence_parallel"),
        when=lambda f: f.multi_latent_attention and f.tensor_model_parallel_size > 1 and not f.sequence_parallel,
        say="multi-latent attention with tensor_model_parallel_size {tensor_model_parallel_size} needs "
        "sequence_parallel: true, or training goes wrong.",
    ),
    Rule(
        keys=("multi_latent_attention", "rotary_interleaved"),
        when=lambda f: f.multi_latent_attention and f.rotary_interleaved,
        say="multi-latent attention rotates halves, not pairs: set rotary_interleaved: false.",
    ),
    Rule(
        keys=("multi_latent_attention", "attention_output_gate"),
        when=lambda f: f.multi_latent_attention and f.attention_output_gate,
        say="multi-latent attention has no output gate: set attention_output_gate: false.",
    ),
    Rule(
        keys=("multi_latent_attention", "apply_rope_fusion", "rope_type"),
        when=lambda f: f.multi_latent_attention and f.apply_rope_fusion and f.rope_type != "yarn",
        say="with multi-latent attention apply_rope_fusion works for rope_type yarn only: set it to false.",
    ),
    Rule(  # silent: positions are then added twice
        keys=("multi_latent_attention", "position_embedding_type"),
        when=lambda f: f.multi_latent_attention and f.position_embedding_type == "learned_absolute",
        say="multi-latent attention has rotary positions of its own: set position_embedding_type: rope.",
    ),
    Rule(
        keys=("seq_length", "max_position_embeddings"),
        when=lambda f: f.max_position_embeddings is not None and f.seq_length > f.max_position_embeddings,
        say="seq_length {seq_length} is longer than max_position_embeddings {max_position_embeddings}.",
    ),
    Rule(
        keys=("use_rope_scaling", "position_embedding_type"),
        when=lambda f: f.use_rope_scaling and f.position_embedding_type != "rope",
        say="use_rope_scaling needs position_embedding_type rope, not {position_embedding_type}.",
    ),
    Rule(
        keys=("no_rope_freq", "num_layers"),
        when=lambda f: f.no_rope_freq is not None and pattern_fault(f, "no_rope_freq") is not None,
        say=lambda f: f"no_rope_freq: {pattern_fault(f, 'no_rope_freq')}.",
    ),
    Rule(
        keys=("no_rope_freq", "num_layers"),
        when=lambda f: isinstance(f.no_rope_freq, int) and f.num_layers % max(1, f.no_rope_freq) != 0,
        say="no_rope_freq {no_rope_freq} does not divide num_layers {num_layers}.",
    ),
    Rule(
        keys=("window_attn_skip_freq", "num_layers"),
        when=lambda f: f.window_attn_skip_freq is not None and pattern_fault(f, "window_attn_skip_freq") is not None,
        say=lambda f: f"window_attn_skip_freq: {pattern_fault(f, 'window_attn_skip_freq')}.",
    ),
    Rule(
        keys=("window_size",),
        when=lambda f: f.window_size is not None and len(f.window_size) != 2,
        say="window_size needs two numbers: tokens to the left and to the right.",
    ),
    Rule(
        keys=("hidden_size", "ffn_hidden_size", "swiglu"),
        when=lambda f: f.swiglu and f.ffn_hidden_size is None and f.hidden_size < SMALLEST_SWIGLU,
        say="hidden_size {hidden_size} is too small to work out the width of a swiglu layer: set ffn_hidden_size.",
    ),
    Rule(
        keys=("swiglu", "quick_geglu", "squared_relu"),
        when=lambda f: f.swiglu + f.quick_geglu + f.squared_relu > 1,
        say="only one of swiglu, quick_geglu and squared_relu can be the activation.",
    ),
    Rule(
        keys=("activation_func_clamp_value", "quick_geglu"),
        when=lambda f: f.activation_func_clamp_value is not None and not f.quick_geglu,
        say="activation_func_clamp_value works with quick_geglu only.",
    ),
    Rule(
        keys=("glu_linear_offset", "quick_geglu"),
        when=lambda f: f.glu_linear_offset != 0 and not f.quick_geglu,
        say="glu_linear_offset works with quick_geglu only.",
    ),
    Rule(
        keys=("activation_func_fp8_input_store", "swiglu"),
        when=lambda f: f.activation_func_fp8_input_store and not f.swiglu,
        say="activation_func_fp8_input_store works with swiglu only.",
    ),
    Rule(
        keys=("use_te_activation_func", "swiglu", "bias_swiglu_fusion", "bias_gelu_fusion", "quick_geglu"),
        when=lambda f: (
            f.use_te_activation_func
            and not f.quick_geglu
            and (f.bias_swiglu_fusion if f.swiglu else f.bias_gelu_fusion)
        ),
        say="use_te_activation_func replaces the fused activation: set bias_swiglu_fusion and bias_gelu_fusion to "
        "false.",
    ),
    Rule(
        keys=("mtp_num_layers", "position_embedding_type"),
        when=lambda f: bool(f.mtp_num_layers) and f.position_embedding_type not in ("rope", "none"),
        say="multi-token prediction (mtp_num_layers) works with position_embedding_type rope or none, not "
        "{position_embedding_type}.",
    ),
    Rule(
        keys=("batch_invariant_mode", "attention_backend"),
        when=lambda f: f.batch_invariant_mode and f.attention_backend != "flash",
        say="batch_invariant_mode needs attention_backend: flash.",
    ),
    Rule(
        keys=("attention_backend", "transformer_impl"),
        when=lambda f: f.attention_backend == "local" and f.transformer_impl == "transformer_engine",
        say="attention_backend local needs transformer_impl: local.",
    ),
    Rule(
        keys=("deterministic_mode", "cross_entropy_loss_fusion"),
        when=lambda f: f.deterministic_mode and f.cross_entropy_loss_fusion,
        say="the fused cross-entropy is not deterministic: set cross_entropy_loss_fusion: false.",
    ),
    Rule(
        keys=("cross_entropy_loss_fusion", "cross_entropy_fusion_impl", "transformer_impl"),
        when=lambda f: (
            f.cross_entropy_loss_fusion and f.cross_entropy_fusion_impl == "te" and f.transformer_impl == "local"
        ),
        say="cross_entropy_fusion_impl te is Transformer Engine's: set native, or transformer_impl: "
        "transformer_engine.",
    ),
    Rule(
        keys=("fused_single_qkv_rope", "attention_output_gate"),
        when=lambda f: f.fused_single_qkv_rope and f.attention_output_gate,
        say="fused_single_qkv_rope does not work with attention_output_gate.",
    ),
)

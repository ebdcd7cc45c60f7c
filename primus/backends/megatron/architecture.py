"""What a checkpoint fits: the settings that give the weights and the optimizer state their names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primus.backends.megatron.arguments import Arguments

_FIELDS = {
    "num_layers": "num_layers",
    "hidden_size": "hidden_size",
    "ffn_hidden_size": "ffn_hidden_size",
    "num_attention_heads": "num_attention_heads",
    "num_query_groups": "num_query_groups",
    "kv_channels": "kv_channels",
    "normalization": "normalization",
    "apply_layernorm_1p": "layernorm_zero_centered_gamma",
    "add_bias_linear": "add_bias_linear",
    "add_qkv_bias": "add_qkv_bias",
    "qk_layernorm": "qk_layernorm",
    "multi_latent_attention": "multi_latent_attention",
    "q_lora_rank": "q_lora_rank",
    "kv_lora_rank": "kv_lora_rank",
    "qk_head_dim": "qk_head_dim",
    "qk_pos_emb_head_dim": "qk_pos_emb_head_dim",
    "v_head_dim": "v_head_dim",
    "num_experts": "num_moe_experts",
    "moe_ffn_hidden_size": "moe_ffn_hidden_size",
    "moe_layer_freq": "moe_layer_freq",
    "moe_shared_expert_intermediate_size": "moe_shared_expert_intermediate_size",
    "moe_router_enable_expert_bias": "moe_router_enable_expert_bias",
    "mtp_num_layers": "mtp_num_layers",
}
"""Key → field of TransformerConfig."""


def architecture_of(arguments: Arguments, vocabulary: int) -> dict[str, Any]:
    """The settings by their keys, as JSON can hold them."""
    config, settings = arguments.transformer, arguments.settings
    facts = {key: getattr(config, field, None) for key, field in _FIELDS.items()}
    facts["activation"] = config.activation_func.__name__
    facts["gated"] = config.gated_linear_unit
    facts["vocab_size"] = vocabulary
    facts["untie_embeddings_and_output_weights"] = settings.untie_embeddings_and_output_weights
    facts["position_embedding_type"] = settings.position_embedding_type
    if settings.position_embedding_type == "learned_absolute":
        facts["max_position_embeddings"] = settings.max_position_embeddings or settings.seq_length
    return facts


def optimizer_facts(arguments: Arguments) -> dict[str, Any]:
    """The settings that give the optimizer's state its form, by their keys."""
    config, settings, layout = arguments.optimizer, arguments.settings, arguments.layout
    facts: dict[str, Any] = {
        "optimizer": config.optimizer,
        "use_distributed_optimizer": config.use_distributed_optimizer,
        "bf16": config.bf16,
        "fp16": config.fp16,
    }
    if config.use_distributed_optimizer and not settings.dist_ckpt_optim_fully_reshardable:
        facts |= {
            "tensor_model_parallel_size": layout.tensor,
            "pipeline_model_parallel_size": layout.pipeline,
            "expert_model_parallel_size": layout.expert,
        }
    return facts


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """`key: 4 here, 8 in the checkpoint` for each setting that both know and see differently."""
    return [
        f"{key}: {here[key]!r} here, {there[key]!r} in the checkpoint"
        for key in here
        if key in there and here[key] != there[key]
    ]

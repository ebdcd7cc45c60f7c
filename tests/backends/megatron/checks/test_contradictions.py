"""Contradictions between keys: every rule is broken at least once, and says so at the right key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.checks import RULES
from primus.backends.megatron.checks.rule import Facts, Rule
from primus.experiment import Experiment, Schema

Make = Callable[..., Experiment]

MOE = {"num_experts": 4, "moe_router_topk": 2, "moe_aux_loss_coeff": 0.01}
MLA = {"multi_latent_attention": True}
TE = {"transformer_impl": "transformer_engine"}
PP2 = {"pipeline_model_parallel_size": 2}
TP2 = {"tensor_model_parallel_size": 2}
DISTRIBUTED = {"use_distributed_optimizer": True}
PRECISE = {**DISTRIBUTED, "use_precision_aware_optimizer": True}
DATA = {"mock_data": None, "data_path": "text"}
SPLITS = {"mock_data": None, "train_data_path": "text"}
NULL = {"tokenizer_type": "NullTokenizer"}

CASES: list[tuple[dict[str, Any], str, str]] = [
    # attention and positions
    ({"hidden_size": 66}, "hidden_size", "does not divide hidden_size 66"),
    ({"group_query_attention": True}, "group_query_attention", "needs num_query_groups"),
    ({"group_query_attention": True, "num_query_groups": 3}, "num_query_groups", "does not divide num_attention_heads"),
    ({**MLA, "group_query_attention": True, "num_query_groups": 2}, "multi_latent_attention", "no key-value groups"),
    ({**MLA, **TP2, "position_embedding_type": "rope"}, "multi_latent_attention", "needs sequence_parallel: true"),
    ({**MLA, "rotary_interleaved": True}, "multi_latent_attention", "rotates halves"),
    ({**MLA, "attention_output_gate": True}, "multi_latent_attention", "no output gate"),
    ({**MLA, "apply_rope_fusion": True, "rope_type": "rope"}, "multi_latent_attention", "rope_type yarn only"),
    ({**MLA, "position_embedding_type": "learned_absolute"}, "multi_latent_attention", "position_embedding_type: rope"),
    ({"seq_length": 128}, "seq_length", "seq_length 128 is longer than max_position_embeddings 64"),
    (
        {"position_embedding_type": "none", "use_rope_scaling": True},
        "use_rope_scaling",
        "needs position_embedding_type rope, not none",
    ),
    ({"no_rope_freq": "[0]*3"}, "no_rope_freq", "a pattern for 3 layers, but num_layers is 4"),
    ({"no_rope_freq": 3}, "no_rope_freq", "does not divide num_layers 4"),
    ({"window_size": [8, 0], "window_attn_skip_freq": "[1]*2"}, "window_attn_skip_freq", "a pattern for 2 layers"),
    ({"window_size": [8]}, "window_size", "needs two numbers"),
    ({"hidden_size": 16, "ffn_hidden_size": None}, "hidden_size", "set ffn_hidden_size"),
    ({"squared_relu": True}, "swiglu", "only one of swiglu"),
    ({"activation_func_clamp_value": 7.0}, "activation_func_clamp_value", "quick_geglu only"),
    ({"glu_linear_offset": 1.0}, "glu_linear_offset", "quick_geglu only"),
    ({"activation_func_fp8_input_store": True, "swiglu": None}, "activation_func_fp8_input_store", "swiglu only"),
    ({"use_te_activation_func": True}, "use_te_activation_func", "set bias_swiglu_fusion"),
    (
        {"mtp_num_layers": 1, "position_embedding_type": "learned_absolute"},
        "mtp_num_layers",
        "rope or none, not learned_absolute",
    ),
    ({"batch_invariant_mode": True}, "batch_invariant_mode", "attention_backend: flash"),
    ({**TE, "attention_backend": "local"}, "attention_backend", "transformer_impl: local"),
    ({"deterministic_mode": True, "cross_entropy_loss_fusion": True}, "deterministic_mode", "not deterministic"),
    (
        {"cross_entropy_loss_fusion": True, "cross_entropy_fusion_impl": "te", "transformer_impl": "local"},
        "cross_entropy_loss_fusion",
        "Transformer Engine's",
    ),
    ({"fused_single_qkv_rope": True, "attention_output_gate": True}, "fused_single_qkv_rope", "does not work"),
    # experts
    ({"num_experts": 4, "moe_aux_loss_coeff": 0.01}, "num_experts", "needs moe_router_topk"),
    ({**MOE, "moe_router_topk": 5}, "moe_router_topk", "moe_router_topk 5 is more than num_experts 4"),
    ({"moe_ffn_hidden_size": 32}, "moe_ffn_hidden_size", "num_experts is not set"),
    ({"expert_model_parallel_size": 2}, "expert_model_parallel_size", "needs num_experts"),
    ({**MOE, "expert_model_parallel_size": 3}, "expert_model_parallel_size", "does not divide num_experts 4"),
    ({**MOE, "expert_model_parallel_size": 2, "fp16": True}, "expert_model_parallel_size", "set bf16"),
    (
        {**MOE, "expert_tensor_parallel_size": 2},
        "expert_tensor_parallel_size",
        "needs expert_model_parallel_size above 1",
    ),
    ({**MOE, **TP2}, "num_experts", "need sequence_parallel: true"),
    ({**MOE, **TP2, "sequence_parallel": True, "add_bias_linear": True}, "num_experts", "experts with biases"),
    (
        {**MOE, **TP2, "sequence_parallel": True, "moe_ffn_hidden_size": 33},
        "moe_ffn_hidden_size",
        "can't be split",
    ),
    ({**MOE, "moe_layer_freq": "[0]+[1]*5"}, "moe_layer_freq", "a pattern for 6 layers, but num_layers is 4"),
    ({**MOE, "moe_router_topk": 1}, "moe_router_topk", "moe_router_pre_softmax: true"),
    ({**MOE, "moe_router_enable_expert_bias": True}, "moe_router_enable_expert_bias", "score_function: sigmoid"),
    ({**MOE, "moe_router_group_topk": 1}, "moe_router_group_topk", "needs both"),
    ({**MOE, "moe_router_group_topk": 1, "moe_router_num_groups": 3}, "moe_router_num_groups", "does not divide"),
    (
        {**MOE, "moe_router_topk": 4, "moe_router_group_topk": 4, "moe_router_num_groups": 2},
        "moe_router_group_topk",
        "is more than moe_router_num_groups 2",
    ),
    (
        {**MOE, "moe_router_group_topk": 4, "moe_router_num_groups": 4},
        "moe_router_group_topk",
        "every chosen group needs an expert",
    ),
    (
        {**MOE, "moe_router_load_balancing_type": ["aux_loss", "seq_aux_loss"]},
        "moe_router_load_balancing_type",
        "go together",
    ),
    (
        {**MOE, "moe_router_load_balancing_type": "sinkhorn"},
        "moe_aux_loss_coeff",
        "no effect with moe_router_load_balancing_type sinkhorn",
    ),
    ({**MOE, "moe_aux_loss_coeff": 0.0}, "moe_aux_loss_coeff", "nothing keeps the experts evenly loaded"),
    ({**MOE, "moe_router_force_load_balancing": True}, "moe_router_force_load_balancing", "random experts"),
    (
        {
            **MOE,
            "moe_expert_capacity_factor": 1.0,
            "moe_aux_loss_coeff": None,
            "moe_router_load_balancing_type": "sinkhorn",
        },
        "moe_expert_capacity_factor",
        "sinkhorn",
    ),
    ({**MOE, "moe_pad_expert_input_to_capacity": True}, "moe_pad_expert_input_to_capacity", "needs moe_expert_cap"),
    (
        {
            **MOE,
            "moe_pad_expert_input_to_capacity": True,
            "moe_expert_capacity_factor": 1.0,
            "moe_token_dispatcher_type": "flex",
            "expert_model_parallel_size": 2,
        },
        "moe_pad_expert_input_to_capacity",
        "DeepEP can't pad",
    ),
    ({**MOE, "moe_token_dispatcher_type": "flex"}, "moe_token_dispatcher_type", "set alltoall"),
    (
        {**MOE, "moe_shared_expert_overlap": True, "moe_shared_expert_intermediate_size": 32},
        "moe_shared_expert_overlap",
        "alltoall only",
    ),
    ({**MOE, "moe_grouped_gemm": True}, "moe_grouped_gemm", "set bf16: true"),
    ({**MOE, "moe_apply_probs_on_input": True}, "moe_apply_probs_on_input", "moe_router_topk 1 only"),
    (
        {**MOE, "moe_router_padding_for_quantization": True, "moe_token_dispatcher_type": "alltoall"},
        "moe_router_padding_for_quantization",
        "is for fp8 and fp4",
    ),
    (
        {**MOE, "moe_router_padding_for_quantization": True, "fp8": "hybrid"},
        "moe_router_padding_for_quantization",
        "allgather",
    ),
    # split over processes
    ({"sequence_parallel": True}, "sequence_parallel", "set sequence_parallel: false"),
    ({**TP2, "sequence_parallel": True, "seq_length": 63}, "sequence_parallel", "does not divide"),
    ({"tensor_model_parallel_size": 8}, "tensor_model_parallel_size", "does not divide num_attention_heads 4"),
    (
        {
            "num_attention_heads": 12,
            "kv_channels": 16,
            "group_query_attention": True,
            "num_query_groups": 4,
            "tensor_model_parallel_size": 6,
            "ffn_hidden_size": 96,
        },
        "tensor_model_parallel_size",
        "must divide num_query_groups 4",
    ),
    ({**TP2, "ffn_hidden_size": 129}, "tensor_model_parallel_size", "does not divide ffn_hidden_size 129"),
    ({**TP2, "moe_shared_expert_intermediate_size": 33}, "tensor_model_parallel_size", "intermediate_size 33"),
    ({"context_parallel_size": 2, "seq_length": 62}, "context_parallel_size", "a multiple of 2 ×"),
    ({"context_parallel_size": 2, "transformer_impl": "local"}, "context_parallel_size", "Transformer Engine's"),
    (
        {"context_parallel_size": 4, "hierarchical_context_parallel_sizes": [2, 3]},
        "hierarchical_context_parallel_sizes",
        "must be context_parallel_size 4",
    ),
    ({"context_parallel_size": 4, "cp_comm_type": "a2a+p2p"}, "cp_comm_type", "needs hierarchical_context"),
    ({"context_parallel_size": 4, "cp_comm_type": ["p2p", "a2a"]}, "cp_comm_type", "one for each of the 4 layers"),
    (
        {**PP2, "num_virtual_stages_per_pipeline_rank": 2, "num_layers_per_virtual_pipeline_stage": 1},
        "num_virtual_stages_per_pipeline_rank",
        "keep one",
    ),
    (
        {**PP2, "num_layers": 5, "num_layers_per_virtual_pipeline_stage": 1, "decoder_first_pipeline_num_layers": 2},
        "num_layers_per_virtual_pipeline_stage",
        "set num_virtual_stages_per_pipeline_rank instead",
    ),
    (
        {**PP2, "decoder_first_pipeline_num_layers": 2, "account_for_loss_in_pipeline_split": True},
        "decoder_first_pipeline_num_layers",
        "keep one pair",
    ),
    (
        {**PP2, "pipeline_model_parallel_layout": "Ett|ttL", "decoder_first_pipeline_num_layers": 2},
        "pipeline_model_parallel_layout",
        "says what every stage holds",
    ),
    ({"pipeline_model_parallel_size": 3}, "pipeline_model_parallel_size", "does not divide the 4 layers"),
    ({**PP2, "account_for_loss_in_pipeline_split": True}, "pipeline_model_parallel_size", "does not divide the 4"),
    (
        {"pipeline_model_parallel_size": 3, "num_layers": 6, "decoder_first_pipeline_num_layers": 3},
        "decoder_first_pipeline_num_layers",
        "leave over",
    ),
    (
        {"pipeline_model_parallel_size": 4, "num_virtual_stages_per_pipeline_rank": 3, "num_layers": 8},
        "num_virtual_stages_per_pipeline_rank",
        "don't divide into this number of virtual stages",
    ),
    (
        {**PP2, "num_layers": 8, "num_layers_per_virtual_pipeline_stage": 3},
        "num_layers_per_virtual_pipeline_stage",
        "does not divide the layers of a pipeline stage",
    ),
    ({"num_virtual_stages_per_pipeline_rank": 2}, "num_virtual_stages_per_pipeline_rank", "above 1"),
    (
        {**PP2, "num_virtual_stages_per_pipeline_rank": 2, "overlap_p2p_comm": False},
        "num_virtual_stages_per_pipeline_rank",
        "set overlap_p2p_comm: true",
    ),
    ({**PP2, "pipeline_model_parallel_layout": "Ett|tL"}, "pipeline_model_parallel_layout", "it has 3 decoder layers"),
    (
        {"pipeline_model_parallel_size": 4, "microbatch_group_size_per_vp_stage": 2},
        "microbatch_group_size_per_vp_stage",
        "must be at least pipeline_model_parallel_size 4",
    ),
    ({**PP2, "overlap_p2p_comm_warmup_flush": True}, "overlap_p2p_comm_warmup_flush", "needs virtual stages"),
    ({"defer_embedding_wgrad_compute": True}, "defer_embedding_wgrad_compute", "gradient_accumulation_fusion"),
    # precision
    ({"bf16": True, "fp16": True}, "bf16", "exclude each other"),
    ({"fp32_residual_connection": True}, "fp32_residual_connection", "set one of them"),
    ({"fp16_lm_cross_entropy": True}, "fp16_lm_cross_entropy", "needs fp16"),
    ({"fp8": "hybrid", "transformer_impl": "local"}, "fp8", "would run without it"),
    ({"fp4": "e2m1", "transformer_impl": "local"}, "fp4", "would run without it"),
    ({"fp4": "e2m1", "fp8": "hybrid"}, "fp8", "exclude each other"),
    ({**DISTRIBUTED, "fp8_param_gather": True}, "fp8_param_gather", "needs fp8"),
    ({"fp8": "hybrid", "fp8_param_gather": True}, "fp8_param_gather", "use_distributed_optimizer: true"),
    ({"fp4_param": True}, "fp4_param", "needs fp4"),
    (
        {**DISTRIBUTED, "fp8": "hybrid", "fp8_param_gather": True, "init_model_with_meta_device": True},
        "init_model_with_meta_device",
        "set fp8_param_gather: false",
    ),
    (
        {"perform_initialization": False, "tensor_model_parallel_size": 2},
        "perform_initialization",
        "which weights are divided",
    ),
    (
        {"fp4": "e2m1", "fp4_param": True, "init_model_with_meta_device": True},
        "init_model_with_meta_device",
        "set fp4_param: false",
    ),
    ({"reuse_grad_buf_for_mxfp8_param_ag": True}, "reuse_grad_buf_for_mxfp8_param_ag", "fp8_recipe: mxfp8"),
    ({"fp8": "e4m3", "fp8_recipe": "custom"}, "fp8_recipe", "needs fp8_quantizer_factory"),
    ({"fp4": "e2m1", "fp4_recipe": "custom"}, "fp4_recipe", "needs fp4_quantizer_factory"),
    ({"fp8": "e4m3", "first_last_layers_bf16": True}, "first_last_layers_bf16", "set another fp8_recipe"),
    (
        {"fp8": "e4m3", "fp8_recipe": "tensorwise", "first_last_layers_bf16": True, "num_layers_at_start_in_bf16": 5},
        "num_layers_at_start_in_bf16",
        "more than the layers of a pipeline stage",
    ),
    (
        {"fp8": "e4m3", "recompute_granularity": "selective", "recompute_modules": ["layernorm"]},
        "recompute_modules",
        "delayed fp8 scaling",
    ),
    # recomputation and offloading
    ({"recompute_granularity": "full", "recompute_num_layers": 1}, "recompute_granularity", "recompute_method"),
    ({"recompute_granularity": "full", "recompute_method": "block"}, "recompute_granularity", "recompute_num_layers"),
    ({"recompute_granularity": "selective", "recompute_method": "block"}, "recompute_granularity", "for recompute_g"),
    ({"recompute_granularity": "selective", "recompute_num_layers": 1}, "recompute_granularity", "covers all layers"),
    ({"recompute_granularity": "selective", "recompute_modules": ["moe_act"]}, "recompute_modules", "moe_grouped_gemm"),
    ({"recompute_granularity": "selective", "recompute_modules": ["mla_up_proj"]}, "recompute_modules", "multi_latent"),
    (
        {
            **MOE,
            "moe_token_dispatcher_type": "alltoall",
            "moe_shared_expert_overlap": True,
            "moe_shared_expert_intermediate_size": 32,
            "recompute_granularity": "selective",
            "recompute_modules": ["shared_experts"],
        },
        "recompute_modules",
        "moe_shared_expert_overlap",
    ),
    (
        {
            **MOE,
            "moe_layer_recompute": True,
            "recompute_granularity": "full",
            "recompute_method": "block",
            "recompute_num_layers": 1,
        },
        "moe_layer_recompute",
        "adds nothing",
    ),
    (
        {
            "recompute_granularity": "full",
            "recompute_method": "block",
            "recompute_num_layers": 1,
            "distribute_saved_activations": True,
        },
        "distribute_saved_activations",
        "above 1",
    ),
    (
        {
            **TP2,
            "sequence_parallel": True,
            "recompute_granularity": "full",
            "recompute_method": "block",
            "recompute_num_layers": 1,
            "distribute_saved_activations": True,
        },
        "distribute_saved_activations",
        "already distributes",
    ),
    ({"cpu_offloading_num_layers": 1}, "cpu_offloading_num_layers", "needs both"),
    ({"cpu_offloading": True, "cpu_offloading_num_layers": 4}, "cpu_offloading_num_layers", "less than num_layers 4"),
    ({**PP2, "cpu_offloading": True, "cpu_offloading_num_layers": 1}, "cpu_offloading", "pipeline parallelism"),
    (
        {"cpu_offloading": True, "cpu_offloading_num_layers": 1, "recompute_granularity": "selective"},
        "cpu_offloading",
        "keep one",
    ),
    (
        {
            "cpu_offloading": True,
            "cpu_offloading_num_layers": 1,
            "fine_grained_activation_offloading": True,
            "offload_modules": ["core_attn"],
        },
        "fine_grained_activation_offloading",
        "exclude each other",
    ),
    ({"fine_grained_activation_offloading": True}, "fine_grained_activation_offloading", "needs offload_modules"),
    (
        {"fine_grained_activation_offloading": True, "offload_modules": ["attn_proj"]},
        "offload_modules",
        "needs core_attn",
    ),
    # optimizer
    ({"overlap_param_gather": True, "overlap_grad_reduce": True}, "overlap_param_gather", "use_distributed_optimizer"),
    ({**DISTRIBUTED, "overlap_param_gather": True}, "overlap_param_gather", "overlap_grad_reduce: true"),
    ({"num_distributed_optimizer_instances": 2}, "num_distributed_optimizer_instances", "use_distributed_optimizer"),
    ({"use_precision_aware_optimizer": True}, "use_precision_aware_optimizer", "use_distributed_optimizer: true"),
    ({"exp_avg_dtype": "bf16"}, "exp_avg_dtype", "use_precision_aware_optimizer: true"),
    ({"optimizer_cpu_offload": True}, "optimizer_cpu_offload", "use_precision_aware_optimizer: true"),
    (
        {**PRECISE, "optimizer_cpu_offload": True, "decoupled_weight_decay": False},
        "optimizer_cpu_offload",
        "decoupled_weight_decay: true",
    ),
    # batches, schedule, checkpoints
    ({"global_batch_size": 9}, "global_batch_size", "micro_batch_size 2 does not divide global_batch_size 9"),
    ({"min_lr": 1.0}, "min_lr", "min_lr 1.0 is above lr 0.001"),
    ({"lr_warmup_init": 1.0}, "lr_warmup_init", "is above lr 0.001"),
    ({"decoupled_min_lr": 1.0}, "decoupled_min_lr", "is above decoupled_lr"),
    ({"lr_warmup_iters": 20}, "lr_warmup_iters", "less than the steps of the decay"),
    ({"lr_warmup_iters": 5, "lr_decay_iters": 5}, "lr_warmup_iters", "less than the steps of the decay"),
    ({"lr_warmup_fraction": 1.0}, "lr_warmup_fraction", "less than 1"),
    ({"lr_warmup_fraction": 0.1, "lr_warmup_iters": 2}, "lr_warmup_fraction", "keep one"),
    ({"lr_decay_style": "WSD"}, "lr_decay_style", "needs lr_wsd_decay_iters"),
    ({"lr_decay_style": "WSD", "lr_wsd_decay_iters": 30}, "lr_wsd_decay_iters", "more than the whole decay"),
    ({"weight_decay_incr_style": "linear"}, "weight_decay_incr_style", "needs start_weight_decay"),
    ({"start_weight_decay": 0.1}, "start_weight_decay", "set weight_decay"),
    (
        {"weight_decay_incr_style": "linear", "start_weight_decay": 0.2, "end_weight_decay": 0.1},
        "start_weight_decay",
        "only grow",
    ),
    ({"save_interval": 10, "save_retain_interval": 15}, "save_retain_interval", "a multiple of save_interval 10"),
    ({"finetune": True}, "finetune", "needs load"),
    ({"ckpt_step": 10}, "ckpt_step", "which is not set"),
    (
        {"distrib_optim_fully_reshardable_mem_efficient": True},
        "distrib_optim_fully_reshardable_mem_efficient",
        "dist_ckpt_optim_fully_reshardable: true",
    ),
    # data
    ({"data_path": "text", "split": "99,1,0"}, "mock_data", "keep one"),
    ({**DATA, "split": "99,1,0", "train_data_path": "text"}, "data_path", "exclude each other"),
    ({"mock_data": None, "data_path": "a", "split": "1", "valid_data_path": "b"}, "valid_data_path", "need train_data"),
    ({**DATA, "data_path": [0.5, "a", "b", "c"], "split": "99,1,0"}, "data_path", "a weight for each"),
    (DATA, "data_path", "needs split"),
    ({**DATA, "split": "most of it"}, "split", "up to three numbers"),
    ({**DATA, "split": "100,0,0", "eval_interval": 5}, "eval_interval", "has none"),
    ({**SPLITS, "eval_interval": 5}, "eval_interval", "valid_data_path, which is not set"),
    (NULL, "tokenizer_type", "needs vocab_size"),
    ({"tokenizer_type": "HuggingFaceTokenizer"}, "tokenizer_type", "needs tokenizer_model"),
    ({"vocab_size": 256}, "vocab_size", "too small for ByteTokenizer"),
    ({"dataloader_fast_cache_load": True}, "dataloader_fast_cache_load", "needs data_cache_path"),
    ({"dataloader_defer_npy_index_mmap": True}, "dataloader_defer_npy_index_mmap", "needs data_cache_path"),
]
"""Changes to the tiny experiment, the key that is blamed, part of the message."""


@pytest.mark.parametrize(("changes", "key", "words"), CASES)
def test_a_contradiction_is_found_at_its_key(experiment: Make, changes: dict[str, Any], key: str, words: str) -> None:
    found = BACKEND.check(experiment(**changes))
    assert [problem for problem in found if words in problem.message and problem.key.endswith(f".{key}")], found


def test_every_rule_is_broken_by_some_case(
    experiment: Make, schema: Schema, prove: Callable[[tuple[Rule, ...], list[Facts]], None]
) -> None:
    prove(RULES, [Facts(experiment(**changes), schema) for changes, *_ in CASES])

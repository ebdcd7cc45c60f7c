"""Keys that have no effect because the switch they belong to is off: one warning per switch, never silence.

Only keys of the experiment itself count: a preset sets whole families, of which an experiment may switch one off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from primus.backends.megatron.checks.rule import Facts
from primus.backends.megatron.tokenizer import NUMBERS
from primus.errors import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """Keys that are read only when another key says so."""

    reads: tuple[str, ...]
    """What `off` reads."""

    off: Callable[[Facts], bool]
    without: str
    """How the experiment says that it is off."""

    keys: tuple[str, ...]


def _off(key: str, *keys: str) -> Switch:
    return Switch(reads=(key,), off=lambda f: not f[key], without=f"without {key}", keys=keys)


def _on(key: str, *keys: str) -> Switch:
    return Switch(reads=(key,), off=lambda f: bool(f[key]), without=f"with {key}: true; set it to false", keys=keys)


SWITCHES = (
    _off(
        "multi_latent_attention",
        "q_lora_rank",
        "kv_lora_rank",
        "qk_head_dim",
        "qk_pos_emb_head_dim",
        "v_head_dim",
        "rope_type",
        "rotary_scaling_factor",
        "original_max_position_embeddings",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
    ),
    _off("group_query_attention", "num_query_groups"),
    _off("use_rope_scaling", "rope_scaling_factor"),
    Switch(
        reads=("position_embedding_type", "multi_latent_attention"),
        off=lambda f: f.position_embedding_type != "rope" and not f.multi_latent_attention,
        without="without position_embedding_type: rope",
        keys=(
            "rotary_base",
            "rotary_percent",
            "rotary_interleaved",
            "rotary_seq_len_interpolation_factor",
            "no_rope_freq",
            "apply_rope_fusion",
        ),
    ),
    _off("window_size", "window_attn_skip_freq"),
    _off("mtp_num_layers", "mtp_loss_scaling_factor"),
    _off(
        "num_experts",
        "moe_layer_freq",
        "moe_shared_expert_intermediate_size",
        "moe_shared_expert_gate",
        "moe_shared_expert_overlap",
        "moe_router_topk",
        "moe_router_num_groups",
        "moe_router_group_topk",
        "moe_router_score_function",
        "moe_router_pre_softmax",
        "moe_router_topk_scaling_factor",
        "moe_router_load_balancing_type",
        "moe_aux_loss_coeff",
        "moe_z_loss_coeff",
        "moe_input_jitter_eps",
        "moe_router_dtype",
        "moe_router_enable_expert_bias",
        "moe_router_bias_update_rate",
        "moe_router_fusion",
        "moe_grouped_gemm",
        "moe_token_dispatcher_type",
        "moe_expert_capacity_factor",
        "moe_pad_expert_input_to_capacity",
        "moe_permute_fusion",
        "moe_latent_size",
        "moe_layer_recompute",
    ),
    _off("moe_shared_expert_intermediate_size", "moe_shared_expert_gate", "moe_shared_expert_overlap"),
    _off("moe_grouped_gemm", "moe_use_legacy_grouped_gemm"),
    _off("moe_router_enable_expert_bias", "moe_router_bias_update_rate"),
    Switch(
        reads=("moe_token_dispatcher_type",),
        off=lambda f: f.moe_token_dispatcher_type != "flex",
        without="without moe_token_dispatcher_type: flex",
        keys=("moe_flex_dispatcher_backend", "moe_deepep_num_sms", "moe_hybridep_num_sms"),
    ),
    _off("moe_expert_capacity_factor", "moe_token_drop_policy"),
    _off(
        "fp8",
        "fp8_margin",
        "fp8_amax_history_len",
        "fp8_amax_compute_algo",
        "fp8_recipe",
        "fp8_wgrad",
        "fp8_dot_product_attention",
        "fp8_multi_head_attention",
        "tp_only_amax_red",
        "first_last_layers_bf16",
    ),
    _off("first_last_layers_bf16", "num_layers_at_start_in_bf16", "num_layers_at_end_in_bf16"),
    _off("fp4", "fp4_recipe", "fp4_quantizer_factory"),
    _off("fp16", "loss_scale", "initial_loss_scale", "min_loss_scale", "loss_scale_window", "hysteresis"),
    Switch(
        reads=("recompute_granularity",),
        off=lambda f: f.recompute_granularity is None,
        without="without recompute_granularity",
        keys=("recompute_method", "recompute_num_layers", "distribute_saved_activations"),
    ),
    Switch(
        reads=("recompute_granularity",),
        off=lambda f: f.recompute_granularity != "selective",
        without="without recompute_granularity: selective",
        keys=("recompute_modules",),
    ),
    _off("fine_grained_activation_offloading", "offload_modules", "min_offloaded_tensor_size"),
    _off(
        "optimizer_cpu_offload",
        "optimizer_offload_fraction",
        "use_torch_optimizer_for_cpu_offload",
        "overlap_cpu_optimizer_d2h_h2d",
        "pin_cpu_grads",
        "pin_cpu_params",
    ),
    _off("use_precision_aware_optimizer", "store_param_remainders"),
    Switch(
        reads=("optimizer",),
        off=lambda f: f.optimizer != "adam",
        without="without optimizer: adam",
        keys=("adam_beta1", "adam_beta2", "adam_eps", "decoupled_weight_decay"),
    ),
    Switch(
        reads=("optimizer",),
        off=lambda f: f.optimizer != "sgd",
        without="without optimizer: sgd",
        keys=("sgd_momentum",),
    ),
    _off("cross_entropy_loss_fusion", "cross_entropy_fusion_impl"),
    _off("defer_embedding_wgrad_compute", "wgrad_deferral_limit"),
    _off("nccl_ub", "disable_symmetric_registration"),
    Switch(
        reads=("context_parallel_size",),
        off=lambda f: f.context_parallel_size == 1,
        without="with context_parallel_size 1",
        keys=("cp_comm_type",),
    ),
    Switch(
        reads=("lr_decay_style",),
        off=lambda f: f.lr_decay_style != "WSD",
        without="without lr_decay_style: WSD",
        keys=("lr_wsd_decay_iters", "lr_wsd_decay_style"),
    ),
    Switch(
        reads=("tokenizer_type",),
        off=lambda f: f.tokenizer_type in NUMBERS,
        without="with tokenizer_type NullTokenizer or ByteTokenizer; set it to HuggingFaceTokenizer",
        keys=("tokenizer_model",),
    ),
    _off("manual_gc", "manual_gc_interval"),
    _on("disable_tensorboard", "tensorboard_dir"),
    _on("disable_wandb", "wandb_project", "wandb_exp_name", "wandb_entity", "wandb_save_dir"),
    _on("disable_mlflow", "mlflow_experiment_name", "mlflow_run_name"),
    Switch(
        reads=("train_data_path",),
        off=lambda f: bool(f.train_data_path),
        without="with train_data_path",
        keys=("split",),
    ),
)


def idle(facts: Facts, unusable: frozenset[str]) -> Iterator[Problem]:
    """A warning for every switch that is off while keys that it rules are set to something of their own."""
    said: set[str] = set()
    for switch in SWITCHES:
        if not unusable.isdisjoint(switch.reads) or not switch.off(facts):
            continue
        found = [key for key in switch.keys if key not in unusable | said and facts.is_own(key) and facts.changed(key)]
        if found:
            said.update(found)
            yield _warning(facts, switch, found)


def _warning(facts: Facts, switch: Switch, keys: list[str]) -> Problem:
    blamed = facts.blame(keys)
    value = facts.value(blamed)
    listed = ", ".join(sorted(keys))
    have = "has" if len(keys) == 1 else "have"
    return Problem(
        where=facts.place(blamed),
        key=value.path if value else blamed,
        message=f"{listed} {have} no effect {switch.without}.",
        severity="warning",
    )

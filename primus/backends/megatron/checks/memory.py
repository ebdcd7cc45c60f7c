"""Contradictions in precision, recomputation, offloading and the distributed optimizer."""

from __future__ import annotations

from primus.backends.megatron.checks.rule import Facts, Rule

LOW_PRECISION_STATE = ("main_params_dtype", "exp_avg_dtype", "exp_avg_sq_dtype")


def _recomputed(f: Facts) -> list[str]:
    """Modules of selective recomputation. Reads recompute_granularity and recompute_modules."""
    if f.recompute_granularity != "selective":
        return []
    return ["core_attn"] if f.recompute_modules is None else list(f.recompute_modules)


def _layers_per_stage(f: Facts) -> int:
    return int(f.num_layers // f.pipeline_model_parallel_size)


PRECISION = (
    Rule(
        keys=("bf16", "fp16"),
        when=lambda f: f.bf16 and f.fp16,
        say="bf16 and fp16 exclude each other: keep one.",
    ),
    Rule(
        keys=("fp32_residual_connection", "bf16", "fp16"),
        when=lambda f: f.fp32_residual_connection and not (f.bf16 or f.fp16),
        say="fp32_residual_connection is for bf16 or fp16 training: set one of them.",
    ),
    Rule(
        keys=("fp16_lm_cross_entropy", "fp16"),
        when=lambda f: f.fp16_lm_cross_entropy and not f.fp16,
        say="fp16_lm_cross_entropy needs fp16.",
    ),
    Rule(  # silent: Megatron's own layers ignore it
        keys=("fp8", "transformer_impl"),
        when=lambda f: f.fp8 is not None and f.transformer_impl == "local",
        say="fp8 is Transformer Engine's; with transformer_impl local training would run without it: set "
        "transformer_impl: transformer_engine, or fp8: null.",
    ),
    Rule(  # silent as well
        keys=("fp4", "transformer_impl"),
        when=lambda f: f.fp4 is not None and f.transformer_impl == "local",
        say="fp4 is Transformer Engine's; with transformer_impl local training would run without it: set "
        "transformer_impl: transformer_engine, or fp4: null.",
    ),
    Rule(
        keys=("fp8", "fp4"),
        when=lambda f: f.fp8 is not None and f.fp4 is not None,
        say="fp8 and fp4 exclude each other: keep one.",
    ),
    Rule(
        keys=("fp8_param_gather", "fp8"),
        when=lambda f: f.fp8_param_gather and f.fp8 is None,
        say="fp8_param_gather needs fp8.",
    ),
    Rule(
        keys=("fp8_param_gather", "use_distributed_optimizer"),
        when=lambda f: f.fp8_param_gather and not f.use_distributed_optimizer,
        say="fp8_param_gather needs use_distributed_optimizer: true.",
    ),
    Rule(  # silent: the norm of the gradient leaves weights out, and clipping follows it
        keys=("perform_initialization", "tensor_model_parallel_size"),
        when=lambda f: not f.perform_initialization and f.tensor_model_parallel_size > 1,
        say="with perform_initialization: false megatron.core does not mark which weights are divided among "
        "tensor parallel processes: set it to true; init_model_with_meta_device: true draws none in vain.",
    ),
    Rule(
        keys=("init_model_with_meta_device", "fp8_param_gather"),
        when=lambda f: f.init_model_with_meta_device and f.fp8_param_gather,
        say="init_model_with_meta_device can't draw weights that are kept in fp8: set fp8_param_gather: false.",
    ),
    Rule(
        keys=("init_model_with_meta_device", "fp4_param"),
        when=lambda f: f.init_model_with_meta_device and f.fp4_param,
        say="init_model_with_meta_device can't draw weights that are kept in fp4: set fp4_param: false.",
    ),
    Rule(
        keys=("fp4_param", "fp4"),
        when=lambda f: f.fp4_param and f.fp4 is None,
        say="fp4_param needs fp4.",
    ),
    Rule(
        keys=("reuse_grad_buf_for_mxfp8_param_ag", "fp8_recipe", "fp8_param_gather"),
        when=lambda f: f.reuse_grad_buf_for_mxfp8_param_ag and not (f.fp8_recipe == "mxfp8" and f.fp8_param_gather),
        say="reuse_grad_buf_for_mxfp8_param_ag needs fp8_recipe: mxfp8 and fp8_param_gather: true.",
    ),
    Rule(
        keys=("fp8_recipe", "fp8_quantizer_factory", "fp8"),
        when=lambda f: f.fp8 is not None and f.fp8_recipe == "custom" and f.fp8_quantizer_factory is None,
        say="fp8_recipe custom needs fp8_quantizer_factory.",
    ),
    Rule(
        keys=("fp4_recipe", "fp4_quantizer_factory", "fp4"),
        when=lambda f: f.fp4 is not None and f.fp4_recipe == "custom" and f.fp4_quantizer_factory is None,
        say="fp4_recipe custom needs fp4_quantizer_factory.",
    ),
    Rule(
        keys=("first_last_layers_bf16", "fp8", "fp8_recipe"),
        when=lambda f: f.first_last_layers_bf16 and f.fp8 is not None and f.fp8_recipe == "delayed",
        say="first_last_layers_bf16 does not work with delayed scaling: set another fp8_recipe.",
    ),
    Rule(
        keys=(
            "num_layers_at_start_in_bf16",
            "num_layers_at_end_in_bf16",
            "first_last_layers_bf16",
            "fp8",
            "num_layers",
            "pipeline_model_parallel_size",
        ),
        when=lambda f: (
            f.first_last_layers_bf16
            and f.fp8 is not None
            and max(f.num_layers_at_start_in_bf16, f.num_layers_at_end_in_bf16) > _layers_per_stage(f)
        ),
        say="num_layers_at_start_in_bf16 {num_layers_at_start_in_bf16} and num_layers_at_end_in_bf16 "
        "{num_layers_at_end_in_bf16} can't be more than the layers of a pipeline stage.",
    ),
    Rule(
        keys=("recompute_modules", "recompute_granularity", "fp8", "fp8_recipe"),
        when=lambda f: (
            f.fp8 is not None and f.fp8_recipe == "delayed" and not {"moe_act", "layernorm"}.isdisjoint(_recomputed(f))
        ),
        say="recompute_modules moe_act and layernorm do not work with delayed fp8 scaling: set another fp8_recipe.",
    ),
)

RECOMPUTATION = (
    Rule(
        keys=("recompute_granularity", "recompute_method"),
        when=lambda f: f.recompute_granularity == "full" and f.recompute_method is None,
        say="recompute_granularity full needs recompute_method: uniform or block.",
    ),
    Rule(
        keys=("recompute_granularity", "recompute_num_layers"),
        when=lambda f: f.recompute_granularity == "full" and f.recompute_num_layers is None,
        say="recompute_granularity full needs recompute_num_layers.",
    ),
    Rule(
        keys=("recompute_granularity", "recompute_method"),
        when=lambda f: f.recompute_granularity == "selective" and f.recompute_method is not None,
        say="recompute_method is for recompute_granularity full; selective takes recompute_modules.",
    ),
    Rule(
        keys=("recompute_granularity", "recompute_num_layers"),
        when=lambda f: f.recompute_granularity == "selective" and f.recompute_num_layers is not None,
        say="recompute_num_layers is for recompute_granularity full; selective covers all layers.",
    ),
    Rule(
        keys=("recompute_modules", "recompute_granularity", "moe_grouped_gemm"),
        when=lambda f: "moe_act" in _recomputed(f) and not f.moe_grouped_gemm,
        say="recompute_modules moe_act needs moe_grouped_gemm: true.",
    ),
    Rule(
        keys=("recompute_modules", "recompute_granularity", "multi_latent_attention"),
        when=lambda f: "mla_up_proj" in _recomputed(f) and not f.multi_latent_attention,
        say="recompute_modules mla_up_proj needs multi_latent_attention: true.",
    ),
    Rule(
        keys=(
            "recompute_modules",
            "recompute_granularity",
            "moe_shared_expert_overlap",
            "moe_shared_expert_intermediate_size",
        ),
        when=lambda f: (
            "shared_experts" in _recomputed(f)
            and f.moe_shared_expert_intermediate_size is not None
            and f.moe_shared_expert_overlap
        ),
        say="recompute_modules shared_experts does not work with moe_shared_expert_overlap.",
    ),
    Rule(
        keys=("moe_layer_recompute", "recompute_granularity"),
        when=lambda f: f.moe_layer_recompute and f.recompute_granularity == "full",
        say="moe_layer_recompute adds nothing to recompute_granularity full: set it to false.",
    ),
    Rule(
        keys=("distribute_saved_activations", "tensor_model_parallel_size", "recompute_granularity"),
        when=lambda f: (
            f.distribute_saved_activations and (f.tensor_model_parallel_size == 1 or f.recompute_granularity != "full")
        ),
        say="distribute_saved_activations needs tensor_model_parallel_size above 1 and recompute_granularity: full.",
    ),
    Rule(
        keys=("distribute_saved_activations", "sequence_parallel"),
        when=lambda f: f.distribute_saved_activations and f.sequence_parallel,
        say="sequence_parallel already distributes activations: set distribute_saved_activations: false.",
    ),
)

OFFLOADING = (
    Rule(  # silent: nothing is offloaded
        keys=("cpu_offloading_num_layers", "cpu_offloading"),
        when=lambda f: (f.cpu_offloading_num_layers > 0) != f.cpu_offloading,
        say="offloading activations needs both cpu_offloading: true and cpu_offloading_num_layers above 0.",
    ),
    Rule(
        keys=("cpu_offloading_num_layers", "num_layers"),
        when=lambda f: f.cpu_offloading_num_layers >= f.num_layers,
        say="cpu_offloading_num_layers {cpu_offloading_num_layers} must be less than num_layers {num_layers}.",
    ),
    Rule(
        keys=("cpu_offloading", "pipeline_model_parallel_size"),
        when=lambda f: f.cpu_offloading and f.pipeline_model_parallel_size > 1,
        say="cpu_offloading does not work with pipeline parallelism.",
    ),
    Rule(
        keys=("cpu_offloading", "recompute_granularity"),
        when=lambda f: f.cpu_offloading and f.recompute_granularity is not None,
        say="cpu_offloading does not work with recompute_granularity: keep one.",
    ),
    Rule(
        keys=("fine_grained_activation_offloading", "cpu_offloading"),
        when=lambda f: f.fine_grained_activation_offloading and f.cpu_offloading,
        say="fine_grained_activation_offloading and cpu_offloading exclude each other: keep one.",
    ),
    Rule(
        keys=("fine_grained_activation_offloading", "offload_modules"),
        when=lambda f: f.fine_grained_activation_offloading and not f.offload_modules,
        say="fine_grained_activation_offloading needs offload_modules.",
    ),
    Rule(
        keys=("offload_modules",),
        when=lambda f: "attn_proj" in (f.offload_modules or ()) and "core_attn" not in f.offload_modules,
        say="offload_modules attn_proj needs core_attn as well.",
    ),
)

OPTIMIZER = (
    Rule(
        keys=("overlap_param_gather", "use_distributed_optimizer"),
        when=lambda f: f.overlap_param_gather and not f.use_distributed_optimizer,
        say="overlap_param_gather needs use_distributed_optimizer: true.",
    ),
    Rule(
        keys=("overlap_param_gather", "overlap_grad_reduce"),
        when=lambda f: f.overlap_param_gather and not f.overlap_grad_reduce,
        say="overlap_param_gather needs overlap_grad_reduce: true.",
    ),
    Rule(
        keys=("num_distributed_optimizer_instances", "use_distributed_optimizer"),
        when=lambda f: f.num_distributed_optimizer_instances > 1 and not f.use_distributed_optimizer,
        say="num_distributed_optimizer_instances needs use_distributed_optimizer: true.",
    ),
    Rule(
        keys=("use_precision_aware_optimizer", "optimizer", "use_distributed_optimizer"),
        when=lambda f: f.use_precision_aware_optimizer and (f.optimizer != "adam" or not f.use_distributed_optimizer),
        say="use_precision_aware_optimizer needs optimizer: adam and use_distributed_optimizer: true.",
    ),
    Rule(
        keys=(*LOW_PRECISION_STATE, "use_precision_aware_optimizer"),
        when=lambda f: not f.use_precision_aware_optimizer and any(f[key] != "fp32" for key in LOW_PRECISION_STATE),
        say="main_params_dtype, exp_avg_dtype and exp_avg_sq_dtype other than fp32 need "
        "use_precision_aware_optimizer: true.",
    ),
    Rule(
        keys=("optimizer_cpu_offload", "use_precision_aware_optimizer"),
        when=lambda f: f.optimizer_cpu_offload and not f.use_precision_aware_optimizer,
        say="optimizer_cpu_offload needs use_precision_aware_optimizer: true.",
    ),
    Rule(
        keys=("optimizer_cpu_offload", "decoupled_weight_decay"),
        when=lambda f: f.optimizer_cpu_offload and not f.decoupled_weight_decay,
        say="optimizer_cpu_offload needs decoupled_weight_decay: true.",
    ),
)

RULES = (*PRECISION, *RECOMPUTATION, *OFFLOADING, *OPTIMIZER)

"""What can't run without a GPU. Applied when a launch finds none."""

from __future__ import annotations

from collections.abc import Callable

from primus.backends.megatron.checks.rule import Facts, Rule


def _needs_gpu(key: str, when: Callable[[Facts], bool], instead: str) -> Rule:
    return Rule(keys=(key,), when=when, say=f"{key} needs a GPU, and there is none here: set {instead}.")


def _switch(key: str) -> Rule:
    return _needs_gpu(key, lambda f: bool(f[key]), f"{key}: false")


def _value(key: str, *values: str, instead: str) -> Rule:
    return _needs_gpu(key, lambda f: f[key] in values, f"{key}: {instead}")


SWITCHES = (
    "moe_grouped_gemm",
    "moe_permute_fusion",
    "moe_router_fusion",
    "apply_rope_fusion",
    "fused_single_qkv_rope",
    "gradient_accumulation_fusion",
    "memory_efficient_layer_norm",
    "use_te_activation_func",
    "te_rng_tracker",
    "use_precision_aware_optimizer",
    "optimizer_cpu_offload",
    "cpu_offloading",
    "fine_grained_activation_offloading",
    "batch_invariant_mode",
    "nccl_ub",
)

CPU_RULES = (
    *(_switch(key) for key in SWITCHES),
    _needs_gpu("context_parallel_size", lambda f: f.context_parallel_size > 1, "context_parallel_size: 1"),
    _needs_gpu("fp8", lambda f: f.fp8 is not None, "fp8: null"),
    _needs_gpu("fp4", lambda f: f.fp4 is not None, "fp4: null"),
    _needs_gpu("symmetric_ar_type", lambda f: f.symmetric_ar_type is not None, "symmetric_ar_type: null"),
    _value("transformer_impl", "transformer_engine", instead="local"),
    _value("attention_backend", "flash", "fused", instead="auto"),
    _value("moe_token_dispatcher_type", "flex", instead="alltoall"),
    Rule(
        keys=("no_persist_layer_norm",),
        when=lambda f: not f.no_persist_layer_norm,
        say="the persistent layer norm needs a GPU, and there is none here: set no_persist_layer_norm: true.",
    ),
    Rule(
        keys=("masked_softmax_fusion", "bf16", "fp16"),
        when=lambda f: f.masked_softmax_fusion and (f.bf16 or f.fp16),
        say="in bf16 and fp16 masked_softmax_fusion needs a GPU, and there is none here: set masked_softmax_fusion: "
        "false.",
    ),
    Rule(
        keys=("cross_entropy_loss_fusion", "cross_entropy_fusion_impl"),
        when=lambda f: f.cross_entropy_loss_fusion and f.cross_entropy_fusion_impl == "te",
        say="Transformer Engine's cross-entropy needs a GPU, and there is none here: set "
        "cross_entropy_loss_fusion: false.",
    ),
)

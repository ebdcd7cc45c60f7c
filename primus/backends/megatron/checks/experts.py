"""Contradictions of mixture-of-experts models: router, balance, dispatch."""

from __future__ import annotations

from primus.backends.megatron.checks.architecture import pattern_fault
from primus.backends.megatron.checks.rule import Facts, Rule

LOSSES = ("aux_loss", "seq_aux_loss", "global_aux_loss")


def balancing(facts: Facts) -> list[str]:
    """The kinds of load balancing, one or several."""
    kinds = facts.moe_router_load_balancing_type
    return list(kinds) if isinstance(kinds, list) else [kinds]


def coefficients(facts: Facts) -> list[float]:
    """The weights of the balancing losses, one or several."""
    weights = facts.moe_aux_loss_coeff
    return list(weights) if isinstance(weights, list) else [weights]


def expert_tensor_parallel(facts: Facts) -> int:
    """Tensor-parallel size of the experts. Reads expert_tensor_parallel_size and tensor_model_parallel_size."""
    return int(facts.expert_tensor_parallel_size or facts.tensor_model_parallel_size)


def _unbalanced(f: Facts) -> bool:
    off = not any(coefficients(f)) or balancing(f) == ["none"]
    other = f.moe_router_enable_expert_bias or f.moe_router_force_load_balancing or "sinkhorn" in balancing(f)
    return f.num_experts is not None and off and not other


RULES = (
    Rule(
        keys=("num_experts", "moe_router_topk"),
        when=lambda f: f.num_experts is not None and not f.given("moe_router_topk"),
        say="num_experts needs moe_router_topk, the number of experts for each token.",
    ),
    Rule(
        keys=("moe_router_topk", "num_experts"),
        when=lambda f: f.num_experts is not None and f.moe_router_topk > f.num_experts,
        say="moe_router_topk {moe_router_topk} is more than num_experts {num_experts}.",
    ),
    Rule(
        keys=("moe_ffn_hidden_size", "num_experts"),
        when=lambda f: f.moe_ffn_hidden_size is not None and f.num_experts is None,
        say="moe_ffn_hidden_size is the width of an expert, but num_experts is not set.",
    ),
    Rule(
        keys=("expert_model_parallel_size", "num_experts"),
        when=lambda f: f.expert_model_parallel_size > 1 and f.num_experts is None,
        say="expert_model_parallel_size {expert_model_parallel_size} needs num_experts.",
    ),
    Rule(
        keys=("expert_model_parallel_size", "num_experts"),
        when=lambda f: f.num_experts is not None and f.num_experts % f.expert_model_parallel_size != 0,
        say="expert_model_parallel_size {expert_model_parallel_size} does not divide num_experts {num_experts}.",
    ),
    Rule(
        keys=("expert_model_parallel_size", "fp16"),
        when=lambda f: f.expert_model_parallel_size > 1 and f.fp16,
        say="expert parallelism does not work with fp16: set bf16: true.",
    ),
    Rule(
        keys=("num_experts", "tensor_model_parallel_size", "sequence_parallel"),
        when=lambda f: f.num_experts is not None and f.tensor_model_parallel_size > 1 and not f.sequence_parallel,
        say="experts with tensor_model_parallel_size {tensor_model_parallel_size} need sequence_parallel: true.",
    ),
    Rule(  # silent: experts' gradients are summed up as if they were divided like the rest
        keys=(
            "expert_tensor_parallel_size",
            "tensor_model_parallel_size",
            "expert_model_parallel_size",
            "num_experts",
        ),
        when=lambda f: (
            f.num_experts is not None
            and f.expert_model_parallel_size == 1
            and expert_tensor_parallel(f) != f.tensor_model_parallel_size
        ),
        say="an expert_tensor_parallel_size other than tensor_model_parallel_size {tensor_model_parallel_size} needs "
        "expert_model_parallel_size above 1, or training goes wrong.",
    ),
    Rule(
        keys=("num_experts", "add_bias_linear", "expert_tensor_parallel_size", "tensor_model_parallel_size"),
        when=lambda f: f.num_experts is not None and f.add_bias_linear and expert_tensor_parallel(f) != 1,
        say="experts with biases can't be split by tensor parallelism: set expert_tensor_parallel_size: 1, or "
        "add_bias_linear: false.",
    ),
    Rule(
        keys=("moe_ffn_hidden_size", "expert_tensor_parallel_size", "tensor_model_parallel_size"),
        when=lambda f: f.moe_ffn_hidden_size is not None and f.moe_ffn_hidden_size % expert_tensor_parallel(f) != 0,
        say="moe_ffn_hidden_size {moe_ffn_hidden_size} can't be split by the tensor parallelism of the experts "
        "(expert_tensor_parallel_size, or tensor_model_parallel_size without it).",
    ),
    Rule(
        keys=("moe_layer_freq", "num_layers"),
        when=lambda f: pattern_fault(f, "moe_layer_freq") is not None,
        say=lambda f: f"moe_layer_freq: {pattern_fault(f, 'moe_layer_freq')}.",
    ),
    Rule(
        keys=(
            "moe_router_topk",
            "moe_router_score_function",
            "moe_router_pre_softmax",
            "moe_router_load_balancing_type",
        ),
        when=lambda f: (
            f.moe_router_topk == 1
            and f.moe_router_score_function == "softmax"
            and not f.moe_router_pre_softmax
            and balancing(f) != ["sinkhorn"]
        ),
        say="with moe_router_topk 1 a softmax after the choice has no gradient: set moe_router_pre_softmax: true.",
    ),
    Rule(
        keys=("moe_router_enable_expert_bias", "moe_router_score_function"),
        when=lambda f: f.moe_router_enable_expert_bias and f.moe_router_score_function != "sigmoid",
        say="moe_router_enable_expert_bias needs moe_router_score_function: sigmoid.",
    ),
    Rule(
        keys=("moe_router_group_topk", "moe_router_num_groups"),
        when=lambda f: (f.moe_router_group_topk is None) != (f.moe_router_num_groups is None),
        say="group-limited routing needs both moe_router_num_groups and moe_router_group_topk.",
    ),
    Rule(
        keys=("moe_router_num_groups", "num_experts"),
        when=lambda f: bool(f.moe_router_num_groups and f.num_experts) and f.num_experts % f.moe_router_num_groups != 0,
        say="moe_router_num_groups {moe_router_num_groups} does not divide num_experts {num_experts}.",
    ),
    Rule(
        keys=("moe_router_group_topk", "moe_router_num_groups"),
        when=lambda f: (
            bool(f.moe_router_group_topk and f.moe_router_num_groups)
            and f.moe_router_group_topk > f.moe_router_num_groups
        ),
        say="moe_router_group_topk {moe_router_group_topk} is more than moe_router_num_groups {moe_router_num_groups}.",
    ),
    Rule(  # silent: a group's score is then the sum of no experts
        keys=("moe_router_group_topk", "moe_router_topk"),
        when=lambda f: f.moe_router_group_topk is not None and f.moe_router_topk < f.moe_router_group_topk,
        say="moe_router_topk {moe_router_topk} is less than moe_router_group_topk {moe_router_group_topk}; every "
        "chosen group needs an expert.",
    ),
    Rule(
        keys=("moe_router_load_balancing_type", "moe_aux_loss_coeff"),
        when=lambda f: (
            isinstance(f.moe_router_load_balancing_type, list) != isinstance(f.moe_aux_loss_coeff, list)
            or len(balancing(f)) != len(coefficients(f))
        ),
        say="moe_router_load_balancing_type and moe_aux_loss_coeff go together: one loss and one weight, or a list of "
        "losses and a list with a weight for each.",
    ),
    Rule(  # silent
        keys=("moe_aux_loss_coeff", "moe_router_load_balancing_type", "num_experts"),
        when=lambda f: (
            f.num_experts is not None and any(coefficients(f)) and not set(LOSSES).intersection(balancing(f))
        ),
        say="moe_aux_loss_coeff has no effect with moe_router_load_balancing_type {moe_router_load_balancing_type}.",
        severity="warning",
    ),
    Rule(  # silent
        keys=(
            "moe_router_load_balancing_type",
            "moe_aux_loss_coeff",
            "num_experts",
            "moe_router_enable_expert_bias",
            "moe_router_force_load_balancing",
        ),
        when=_unbalanced,
        say="nothing keeps the experts evenly loaded: set moe_aux_loss_coeff (0.01 is usual) with a "
        "moe_router_load_balancing_type other than none.",
        severity="warning",
    ),
    Rule(
        keys=("moe_router_force_load_balancing",),
        when=lambda f: f.moe_router_force_load_balancing,
        say="moe_router_force_load_balancing sends tokens to random experts: good for measuring speed, but the model "
        "learns nothing useful.",
        severity="warning",
    ),
    Rule(
        keys=("moe_expert_capacity_factor", "moe_router_load_balancing_type"),
        when=lambda f: f.moe_expert_capacity_factor is not None and "sinkhorn" in balancing(f),
        say="moe_expert_capacity_factor does not work with sinkhorn balancing.",
    ),
    Rule(
        keys=("moe_pad_expert_input_to_capacity", "moe_expert_capacity_factor"),
        when=lambda f: f.moe_pad_expert_input_to_capacity and f.moe_expert_capacity_factor is None,
        say="moe_pad_expert_input_to_capacity needs moe_expert_capacity_factor.",
    ),
    Rule(
        keys=("moe_pad_expert_input_to_capacity", "moe_token_dispatcher_type", "moe_flex_dispatcher_backend"),
        when=lambda f: (
            f.moe_pad_expert_input_to_capacity
            and f.moe_token_dispatcher_type == "flex"
            and f.moe_flex_dispatcher_backend == "deepep"
        ),
        say="DeepEP can't pad to capacity: set moe_token_dispatcher_type: alltoall.",
    ),
    Rule(
        keys=("moe_token_dispatcher_type", "expert_model_parallel_size", "tensor_model_parallel_size", "num_experts"),
        when=lambda f: (
            f.num_experts is not None
            and f.moe_token_dispatcher_type == "flex"
            and f.expert_model_parallel_size * f.tensor_model_parallel_size == 1
        ),
        say="moe_token_dispatcher_type flex needs expert_model_parallel_size or tensor_model_parallel_size above 1: "
        "set alltoall.",
    ),
    Rule(
        keys=("moe_shared_expert_overlap", "moe_token_dispatcher_type", "moe_shared_expert_intermediate_size"),
        when=lambda f: (
            f.moe_shared_expert_overlap
            and f.moe_shared_expert_intermediate_size is not None
            and f.moe_token_dispatcher_type != "alltoall"
        ),
        say="moe_shared_expert_overlap works with moe_token_dispatcher_type alltoall only.",
    ),
    Rule(
        keys=("moe_grouped_gemm", "bf16"),
        when=lambda f: f.moe_grouped_gemm and not f.bf16,
        say="moe_grouped_gemm works in bf16 only: set bf16: true.",
    ),
    Rule(
        keys=("moe_apply_probs_on_input", "moe_router_topk"),
        when=lambda f: f.moe_apply_probs_on_input and f.moe_router_topk != 1,
        say="moe_apply_probs_on_input works with moe_router_topk 1 only.",
    ),
    Rule(
        keys=("moe_router_padding_for_quantization", "fp8", "fp4"),
        when=lambda f: f.moe_router_padding_for_quantization and f.fp8 is None and f.fp4 is None,
        say="moe_router_padding_for_quantization is for fp8 and fp4: set one of them, or this to false.",
    ),
    Rule(
        keys=("moe_router_padding_for_quantization", "moe_token_dispatcher_type"),
        when=lambda f: f.moe_router_padding_for_quantization and f.moe_token_dispatcher_type == "allgather",
        say="moe_router_padding_for_quantization does not work with moe_token_dispatcher_type allgather.",
    ),
)

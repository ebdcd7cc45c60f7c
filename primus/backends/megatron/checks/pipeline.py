"""Contradictions in how the model is split: tensor, sequence, context and pipeline parallelism."""

from __future__ import annotations

from primus.backends.megatron import pipeline_layout
from primus.backends.megatron.checks.architecture import query_groups
from primus.backends.megatron.checks.rule import Facts, Rule
from primus.backends.megatron.layout import virtual_stages

VIRTUAL = ("num_virtual_stages_per_pipeline_rank", "num_layers_per_virtual_pipeline_stage")
ENDS = ("decoder_first_pipeline_num_layers", "decoder_last_pipeline_num_layers")
COUNTED = ("account_for_embedding_in_pipeline_split", "account_for_loss_in_pipeline_split")


def _counted_layers(f: Facts) -> int:
    return int(f.num_layers + sum(bool(f[key]) for key in COUNTED))


def _uneven(f: Facts) -> bool:
    """Equal stages, whose number does not divide the layers."""
    special = f.pipeline_model_parallel_layout is not None or any(f[key] is not None for key in ENDS)
    return not special and _counted_layers(f) % f.pipeline_model_parallel_size != 0


def _middle(f: Facts) -> tuple[int, int]:
    """Layers and stages that the first and the last stage leave over."""
    ends = [f[key] for key in ENDS if f[key] is not None]
    return f.num_layers - sum(ends), f.pipeline_model_parallel_size - len(ends)


def _uneven_middle(f: Facts) -> bool:
    if all(f[key] is None for key in ENDS):
        return False
    layers, stages = _middle(f)
    return layers < 0 or stages < 0 or bool(layers) != bool(stages) or (stages > 0 and layers % stages != 0)


def _uneven_virtual(f: Facts) -> bool:
    virtual = virtual_stages(f)
    if not virtual or f.pipeline_model_parallel_layout is not None or _uneven(f) or _uneven_middle(f):
        return False
    if all(f[key] is None for key in ENDS):
        return bool(_counted_layers(f) // f.pipeline_model_parallel_size % virtual)
    layers, stages = _middle(f)
    parts = [f[key] for key in ENDS if f[key] is not None] + ([layers // stages] if stages else [])
    return any(part % virtual for part in parts)


def _layout_fault(f: Facts) -> str | None:
    if f.pipeline_model_parallel_layout is None:
        return None
    return pipeline_layout.fault(
        f.pipeline_model_parallel_layout,
        stages=f.pipeline_model_parallel_size,
        num_layers=f.num_layers,
        mtp_num_layers=f.mtp_num_layers or 0,
    )


def interleaved(f: Facts) -> bool:
    """Whether a process has several model chunks. Reads VIRTUAL, COUNTED, num_layers, pipeline size and layout."""
    if f.pipeline_model_parallel_layout is not None:
        try:
            chunks = len(pipeline_layout.read_layout(f.pipeline_model_parallel_layout))
        except ValueError:
            return False
        return bool(chunks > f.pipeline_model_parallel_size)
    return (virtual_stages(f) or 1) > 1


INTERLEAVED = (*VIRTUAL, *COUNTED, "num_layers", "pipeline_model_parallel_size", "pipeline_model_parallel_layout")
"""What interleaved() reads."""

RULES = (
    Rule(
        keys=("sequence_parallel", "tensor_model_parallel_size"),
        when=lambda f: f.sequence_parallel and f.tensor_model_parallel_size == 1,
        say="sequence_parallel splits among a tensor-parallel group, but tensor_model_parallel_size is 1: set "
        "sequence_parallel: false.",
    ),
    Rule(
        keys=("sequence_parallel", "seq_length", "tensor_model_parallel_size", "context_parallel_size"),
        when=lambda f: (
            f.sequence_parallel and f.seq_length % (f.tensor_model_parallel_size * f.context_parallel_size) != 0
        ),
        say="sequence_parallel splits seq_length {seq_length}, which tensor_model_parallel_size "
        "{tensor_model_parallel_size} × context_parallel_size {context_parallel_size} does not divide.",
    ),
    Rule(
        keys=("tensor_model_parallel_size", "num_attention_heads"),
        when=lambda f: f.num_attention_heads % f.tensor_model_parallel_size != 0,
        say="tensor_model_parallel_size {tensor_model_parallel_size} does not divide num_attention_heads "
        "{num_attention_heads}.",
    ),
    Rule(
        keys=("tensor_model_parallel_size", "num_query_groups", "group_query_attention", "num_attention_heads"),
        when=lambda f: (
            query_groups(f) % f.tensor_model_parallel_size != 0 and f.tensor_model_parallel_size % query_groups(f) != 0
        ),
        say="tensor_model_parallel_size {tensor_model_parallel_size} must divide num_query_groups "
        "{num_query_groups}, or be a multiple of it.",
    ),
    Rule(
        keys=("tensor_model_parallel_size", "ffn_hidden_size"),
        when=lambda f: f.ffn_hidden_size is not None and f.ffn_hidden_size % f.tensor_model_parallel_size != 0,
        say="tensor_model_parallel_size {tensor_model_parallel_size} does not divide ffn_hidden_size "
        "{ffn_hidden_size}.",
    ),
    Rule(
        keys=("tensor_model_parallel_size", "moe_shared_expert_intermediate_size"),
        when=lambda f: (f.moe_shared_expert_intermediate_size or 0) % f.tensor_model_parallel_size != 0,
        say="tensor_model_parallel_size {tensor_model_parallel_size} does not divide "
        "moe_shared_expert_intermediate_size {moe_shared_expert_intermediate_size}.",
    ),
    Rule(
        keys=("context_parallel_size", "seq_length"),
        when=lambda f: f.context_parallel_size > 1 and f.seq_length % (2 * f.context_parallel_size) != 0,
        say="seq_length {seq_length} must be a multiple of 2 × context_parallel_size {context_parallel_size}.",
    ),
    Rule(
        keys=("context_parallel_size", "transformer_impl"),
        when=lambda f: f.context_parallel_size > 1 and f.transformer_impl == "local",
        say="context parallelism is Transformer Engine's: set transformer_impl: transformer_engine, or "
        "context_parallel_size: 1.",
    ),
    Rule(
        keys=("hierarchical_context_parallel_sizes", "context_parallel_size"),
        when=lambda f: (
            f.hierarchical_context_parallel_sizes is not None
            and _product(f.hierarchical_context_parallel_sizes) != f.context_parallel_size
        ),
        say="the product of hierarchical_context_parallel_sizes {hierarchical_context_parallel_sizes} must be "
        "context_parallel_size {context_parallel_size}.",
    ),
    Rule(
        keys=("cp_comm_type", "hierarchical_context_parallel_sizes"),
        when=lambda f: "a2a+p2p" in _listed(f.cp_comm_type) and f.hierarchical_context_parallel_sizes is None,
        say="cp_comm_type a2a+p2p needs hierarchical_context_parallel_sizes.",
    ),
    Rule(
        keys=("cp_comm_type", "num_layers", "context_parallel_size"),
        when=lambda f: (
            f.context_parallel_size > 1
            and isinstance(f.cp_comm_type, list)
            and len(f.cp_comm_type) not in (1, f.num_layers)
        ),
        say="cp_comm_type needs one value, or one for each of the {num_layers} layers.",
    ),
    Rule(
        keys=(*VIRTUAL, "pipeline_model_parallel_layout"),
        when=lambda f: sum(f[key] is not None for key in (*VIRTUAL, "pipeline_model_parallel_layout")) > 1,
        say="num_virtual_stages_per_pipeline_rank, num_layers_per_virtual_pipeline_stage and "
        "pipeline_model_parallel_layout say the same: keep one.",
    ),
    Rule(
        keys=("num_layers_per_virtual_pipeline_stage", *ENDS),
        when=lambda f: f.num_layers_per_virtual_pipeline_stage is not None and any(f[key] is not None for key in ENDS),
        say="with a first or last stage of another size, set num_virtual_stages_per_pipeline_rank instead of "
        "num_layers_per_virtual_pipeline_stage.",
    ),
    Rule(
        keys=(*ENDS, *COUNTED),
        when=lambda f: any(f[key] is not None for key in ENDS) and any(f[key] for key in COUNTED),
        say="decoder_first/last_pipeline_num_layers and account_for_embedding/loss_in_pipeline_split say different "
        "things about the first and last stage: keep one pair.",
    ),
    Rule(
        keys=("pipeline_model_parallel_layout", *ENDS, *COUNTED),
        when=lambda f: (
            f.pipeline_model_parallel_layout is not None
            and (any(f[key] is not None for key in ENDS) or any(f[key] for key in COUNTED))
        ),
        say="pipeline_model_parallel_layout says what every stage holds: leave out "
        "decoder_first/last_pipeline_num_layers and account_for_embedding/loss_in_pipeline_split.",
    ),
    Rule(
        keys=("pipeline_model_parallel_size", "num_layers", *ENDS, *COUNTED, "pipeline_model_parallel_layout"),
        when=_uneven,
        say="pipeline_model_parallel_size {pipeline_model_parallel_size} does not divide the {num_layers} layers "
        "(num_layers, and one for each account_for_*_in_pipeline_split): set decoder_first_pipeline_num_layers or "
        "decoder_last_pipeline_num_layers, or pipeline_model_parallel_layout.",
    ),
    Rule(
        keys=(*ENDS, "num_layers", "pipeline_model_parallel_size"),
        when=_uneven_middle,
        say="the layers that the first and last stage leave over (of {num_layers}) don't divide among the stages "
        "between them (of {pipeline_model_parallel_size}).",
    ),
    Rule(
        keys=(
            *VIRTUAL,
            "num_layers",
            "pipeline_model_parallel_size",
            *ENDS,
            *COUNTED,
            "pipeline_model_parallel_layout",
        ),
        when=_uneven_virtual,
        say="the layers of a pipeline stage ({num_layers} over {pipeline_model_parallel_size} stages) don't divide "
        "into this number of virtual stages.",
    ),
    Rule(
        keys=(
            "num_layers_per_virtual_pipeline_stage",
            "num_layers",
            "pipeline_model_parallel_size",
            *ENDS,
            *COUNTED,
            "pipeline_model_parallel_layout",
        ),
        when=lambda f: (
            f.num_layers_per_virtual_pipeline_stage is not None
            and not _uneven(f)
            and _counted_layers(f) // f.pipeline_model_parallel_size % f.num_layers_per_virtual_pipeline_stage != 0
        ),
        say="num_layers_per_virtual_pipeline_stage {num_layers_per_virtual_pipeline_stage} does not divide the layers "
        "of a pipeline stage ({num_layers} over {pipeline_model_parallel_size} stages).",
    ),
    Rule(
        keys=INTERLEAVED,
        when=lambda f: interleaved(f) and f.pipeline_model_parallel_size == 1,
        say="virtual stages need pipeline_model_parallel_size above 1.",
    ),
    Rule(  # silent with two stages: the loss is wrong
        keys=(*INTERLEAVED, "overlap_p2p_comm"),
        when=lambda f: interleaved(f) and f.overlap_p2p_comm is False and f.pipeline_model_parallel_size == 2,
        say="virtual stages without overlap_p2p_comm need pipeline_model_parallel_size above 2, or training goes "
        "wrong: set overlap_p2p_comm: true.",
    ),
    Rule(
        keys=("pipeline_model_parallel_layout", "pipeline_model_parallel_size", "num_layers", "mtp_num_layers"),
        when=lambda f: _layout_fault(f) is not None,
        say=lambda f: f"pipeline_model_parallel_layout: {_layout_fault(f)}.",
    ),
    Rule(
        keys=("microbatch_group_size_per_vp_stage", "pipeline_model_parallel_size"),
        when=lambda f: (
            f.microbatch_group_size_per_vp_stage is not None
            and f.microbatch_group_size_per_vp_stage < f.pipeline_model_parallel_size
        ),
        say="microbatch_group_size_per_vp_stage {microbatch_group_size_per_vp_stage} must be at least "
        "pipeline_model_parallel_size {pipeline_model_parallel_size}.",
    ),
    Rule(
        keys=("overlap_p2p_comm_warmup_flush", "overlap_p2p_comm", *INTERLEAVED),
        when=lambda f: f.overlap_p2p_comm_warmup_flush and (not interleaved(f) or f.overlap_p2p_comm is False),
        say="overlap_p2p_comm_warmup_flush needs virtual stages and overlap_p2p_comm.",
    ),
    Rule(
        keys=("defer_embedding_wgrad_compute", "pipeline_model_parallel_size", "gradient_accumulation_fusion"),
        when=lambda f: (
            f.defer_embedding_wgrad_compute
            and (f.pipeline_model_parallel_size == 1 or not f.gradient_accumulation_fusion)
        ),
        say="defer_embedding_wgrad_compute needs pipeline_model_parallel_size above 1 and "
        "gradient_accumulation_fusion.",
    ),
)


def _product(sizes: list[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _listed(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []

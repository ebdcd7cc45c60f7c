"""Where each Megatron argument goes: the keys whose name or form differs from the megatron.core field that they set.

Data only. arguments.py builds the configuration objects from it in the worker; the schema is generated with it.
A key that is not here and not in settings.py sets the field of the same name, in every dataclass that has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["same", "not", "dtype", "enum", "pattern", "pair"]
"""How a plain value becomes the field's: as it is; inverted; a torch dtype by its short name (`bf16`); a member of
the field's enum by name; a layer pattern (`[0]+[1]*3`) as a list; a list of two as a tuple."""

MODEL = "TransformerConfig"
MLA = "MLATransformerConfig"
OPTIMIZER = "OptimizerConfig"
DDP = "DistributedDataParallelConfig"
DATASET = "GPTDatasetConfig"

CONFIGS: tuple[str, ...] = (MODEL, MLA, OPTIMIZER, DDP, DATASET)
"""The dataclasses that keys may set; with multi_latent_attention MLA, which has all fields of MODEL, replaces it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One field that a key sets."""

    config: str
    field: str
    form: Form = "same"


def _model(field: str, form: Form = "same") -> tuple[Route, ...]:
    return (Route(config=MODEL, field=field, form=form),)


def _optimizer(field: str, form: Form = "same") -> tuple[Route, ...]:
    return (Route(config=OPTIMIZER, field=field, form=form),)


def _ddp(field: str, form: Form = "same") -> tuple[Route, ...]:
    return (Route(config=DDP, field=field, form=form),)


def _dataset(field: str, form: Form = "same") -> tuple[Route, ...]:
    return (Route(config=DATASET, field=field, form=form),)


ROUTES: dict[str, tuple[Route, ...]] = {
    # Other names.
    "norm_epsilon": _model("layernorm_epsilon"),
    "apply_layernorm_1p": _model("layernorm_zero_centered_gamma"),
    "no_persist_layer_norm": _model("persist_layer_norm", "not"),
    "num_experts": _model("num_moe_experts"),
    "decoder_first_pipeline_num_layers": _model("num_layers_in_first_pipeline_stage"),
    "decoder_last_pipeline_num_layers": _model("num_layers_in_last_pipeline_stage"),
    "fp8_param_gather": (*_model("fp8_param"), *_ddp("fp8_param_gather")),
    "te_rng_tracker": _model("use_te_rng_tracker"),
    "overlap_p2p_comm": (*_model("overlap_p2p_comm"), *_model("batch_p2p_comm", "not")),
    "accumulate_allreduce_grads_in_fp32": _ddp("grad_reduce_in_fp32"),
    "ddp_average_in_collective": _ddp("average_in_collective"),
    "ddp_bucket_size": _ddp("bucket_size"),
    "ddp_pad_buckets_for_high_nccl_busbw": _ddp("pad_buckets_for_high_nccl_busbw"),
    "ddp_reduce_scatter_with_fp32_accumulation": _ddp("reduce_scatter_with_fp32_accumulation"),
    "seq_length": _dataset("sequence_length"),
    "seed": _dataset("random_seed"),
    "data_cache_path": _dataset("path_to_cache"),
    "create_attention_mask_in_dataloader": _dataset("create_attention_mask"),
    "dataloader_defer_npy_index_mmap": _dataset("defer_npy_index_mmap"),
    "dataloader_fast_cache_load": _dataset("fast_cache_load"),
    # The same name, another form.
    "attention_backend": _model("attention_backend", "enum"),
    "moe_layer_freq": _model("moe_layer_freq", "pattern"),
    "no_rope_freq": _model("no_rope_freq", "pattern"),
    "window_attn_skip_freq": _model("window_attn_skip_freq", "pattern"),
    "window_size": _model("window_size", "pair"),
    "main_params_dtype": _optimizer("main_params_dtype", "dtype"),
    "exp_avg_dtype": _optimizer("exp_avg_dtype", "dtype"),
    "exp_avg_sq_dtype": _optimizer("exp_avg_sq_dtype", "dtype"),
}

DERIVED: dict[str, frozenset[str]] = {
    MODEL: frozenset(
        {
            # From bf16 and fp16.
            "params_dtype",
            "pipeline_dtype",
            "autocast_dtype",
            "enable_autocast",
            # From swiglu, quick_geglu, squared_relu, bias_swiglu_fusion, bias_gelu_fusion.
            "activation_func",
            "gated_linear_unit",
            "bias_activation_fusion",
            # From init_method_xavier_uniform.
            "init_method",
            "output_layer_init_method",
            "embedding_init_method",
            # From num_layers_per_virtual_pipeline_stage, num_virtual_stages_per_pipeline_rank.
            "virtual_pipeline_model_parallel_size",
            # From the device: the schedules may free an output that gloo is still sending.
            "deallocate_pipeline_outputs",
            # Objects that the loop hands over.
            "timers",
            "finalize_model_grads_func",
            "grad_scale_func",
            "no_sync_func",
            "grad_sync_func",
            "param_sync_func",
            "_cpu_offloading_context",
            "quant_recipe",
        }
    ),
    OPTIMIZER: frozenset({"params_dtype", "timers"}),
    # The gradient norm that the optimizer takes anyway finds every NaN, before the step: see loop.py.
    DDP: frozenset({"check_for_nan_in_grad"}),
    DATASET: frozenset(
        {"blend", "blend_per_split", "mock", "split_matrix", "tokenizer", "token_dtype_code", "data_parallel_size"}
    ),
}
"""Fields that no key sets: arguments.py or the loop works them out from other keys."""

"""The model: megatron.core's GPTModel, its pipeline stages wrapped for mixed precision and data parallelism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state as state
from megatron.core import tensor_parallel
from megatron.core.distributed import DistributedDataParallel
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_decoder_block_spec,
    get_gpt_decoder_layer_specs,
    get_gpt_mtp_block_spec,
)
from megatron.core.transformer.module import Float16Module, param_is_not_shared

from primus.backends.megatron.arguments import Arguments
from primus.backends.megatron.meta import MetaModel, hold_places


def build_model(arguments: Arguments, vocabulary: int, device: torch.device, *, draw: bool = True) -> list[Any]:
    """This process' part of the model: one chunk, or one for each virtual pipeline stage.

    Without `draw` the weights of a model that started on the meta device stay undefined, for a checkpoint to fill.
    """
    config = arguments.transformer
    padded = padded_vocabulary(vocabulary, arguments)
    stages = config.virtual_pipeline_model_parallel_size
    builders = [partial(_chunk, arguments, padded, stage) for stage in (range(stages) if stages else (None,))]
    if arguments.settings.init_model_with_meta_device:
        return _build_on_meta(arguments, builders, device, draw=draw)
    return _distribute(arguments, _prepare(arguments, [build().to(device) for build in builders]))


def _build_on_meta(
    arguments: Arguments, builders: Sequence[Callable[[], GPTModel]], device: torch.device, *, draw: bool
) -> list[Any]:
    models = [MetaModel(build, arguments.transformer, device) for build in builders]
    chunks = _prepare(arguments, [model.module for model in models])
    for chunk in chunks:
        hold_places(chunk, device)
    in_buffers = arguments.ddp.use_distributed_optimizer  # else those of the gradients need not be there meanwhile
    if not in_buffers:
        _fill(models, draw=draw)
    chunks = _distribute(arguments, chunks)
    if in_buffers:
        _fill(models, draw=draw)
    return chunks


def _fill(models: list[MetaModel], *, draw: bool) -> None:
    for model in models:
        model.fill(draw=draw)


def _prepare(arguments: Arguments, chunks: list[Any]) -> list[Any]:
    """Every weight has megatron's marks and the type that it is computed with."""
    config = arguments.transformer
    for parameter in (parameter for chunk in chunks for parameter in chunk.parameters()):
        tensor_parallel.set_defaults_if_not_set_tensor_model_parallel_attributes(parameter)
    return [Float16Module(config, chunk) for chunk in chunks] if config.bf16 or config.fp16 else chunks


def _distribute(arguments: Arguments, chunks: list[Any]) -> list[Any]:
    early_gather = arguments.optimizer.overlap_param_gather_with_optimizer_step
    return [
        # The first chunk is the last of the backward pass: only its buckets can hide behind computation.
        DistributedDataParallel(
            arguments.transformer, arguments.ddp, chunk, disable_bucketing=index > 0 or early_gather
        )
        for index, chunk in enumerate(chunks)
    ]


def padded_vocabulary(size: int, arguments: Arguments) -> int:
    """Rows of the embedding, so that each tensor parallel process has equally many."""
    multiple = arguments.settings.make_vocab_size_divisible_by * arguments.layout.tensor
    return -(-size // multiple) * multiple


def count_parameters(chunks: list[Any], device: torch.device) -> int:
    """Parameters of the whole model, each counted once; all processes must call it."""
    total = 0.0
    for parameter in (p for chunk in chunks for p in chunk.parameters() if param_is_not_shared(p)):
        total += parameter.numel() / _copies(parameter)
    box = torch.tensor([total], dtype=torch.float64, device=device)
    dist.all_reduce(box)
    return round(float(box.item()))


def _copies(parameter: torch.nn.Parameter) -> int:
    """Processes that hold the same part of this parameter."""
    split = getattr(parameter, "tensor_model_parallel", False)
    if getattr(parameter, "allreduce", True):
        replicas = int(state.get_data_parallel_world_size(with_context_parallel=True))
        return replicas if split else replicas * int(state.get_tensor_model_parallel_world_size())
    replicas = int(state.get_expert_data_parallel_world_size())
    return replicas if split else replicas * int(state.get_expert_tensor_parallel_world_size())


def _chunk(arguments: Arguments, padded_vocabulary: int, stage: int | None) -> GPTModel:
    config, settings = arguments.transformer, arguments.settings
    return GPTModel(
        config,
        _layers(arguments, stage),
        vocab_size=padded_vocabulary,
        max_sequence_length=settings.max_position_embeddings or settings.seq_length,
        pre_process=state.is_pipeline_first_stage(ignore_virtual=False, vp_stage=stage),
        post_process=state.is_pipeline_last_stage(ignore_virtual=False, vp_stage=stage),
        fp16_lm_cross_entropy=settings.fp16_lm_cross_entropy,
        share_embeddings_and_output_weights=not settings.untie_embeddings_and_output_weights,
        position_embedding_type=settings.position_embedding_type,
        rotary_percent=settings.rotary_percent,
        rotary_base=settings.rotary_base,
        rope_scaling=settings.use_rope_scaling,
        rope_scaling_factor=settings.rope_scaling_factor,
        seq_len_interpolation_factor=settings.rotary_seq_len_interpolation_factor,
        mtp_block_spec=_prediction(arguments, stage),
        vp_stage=stage,
    )


def _layers(arguments: Arguments, stage: int | None) -> Any:
    """What each decoder layer of this stage is made of: the kinds may differ, dense first and then experts."""
    return get_gpt_decoder_block_spec(arguments.transformer, **_spec_options(arguments), vp_stage=stage)


def _prediction(arguments: Arguments, stage: int | None) -> Any:
    """Multi-token prediction: more layers of the last layer's kind, on the last stage."""
    config = arguments.transformer
    if not config.mtp_num_layers:
        return None
    options = _spec_options(arguments)
    last = get_gpt_decoder_layer_specs(config, **options)[-1]
    engine = options["use_transformer_engine"]
    return get_gpt_mtp_block_spec(config, last, use_transformer_engine=engine, vp_stage=stage)


def _spec_options(arguments: Arguments) -> dict[str, Any]:
    config = arguments.transformer
    return {
        "use_transformer_engine": config.transformer_impl == "transformer_engine",
        "normalization": config.normalization,
        "qk_l2_norm": config.qk_l2_norm,
    }

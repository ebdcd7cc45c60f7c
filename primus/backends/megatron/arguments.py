"""Plain experiment values → the configuration objects of megatron.core. The worker calls build(), after which nobody
looks at the values again. Which key sets which field stands in keys.py and settings.py."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig
from megatron.core.transformer.transformer_config import MLATransformerConfig, TransformerConfig

from primus.backends.megatron import keys
from primus.backends.megatron.layout import Layout, layout_of
from primus.backends.megatron.patterns import read_pattern
from primus.backends.megatron.settings import TrainingSettings
from primus.errors import ExperimentError, MissingError, Problem


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """All that a training run is made from."""

    settings: TrainingSettings
    layout: Layout
    transformer: TransformerConfig
    optimizer: OptimizerConfig
    ddp: DistributedDataParallelConfig
    dataset: Mapping[str, Any]
    """For GPTDatasetConfig, without the tokenizer and the paths, which data.py adds."""

    global_batch_size: int
    """Sequences of one step, of all replicas together."""


def build(values: Mapping[str, Any], *, world_size: int, gpu: bool) -> Arguments:
    """The configuration objects for plain `values`; ExperimentError when megatron.core refuses them.

    A value of None means the default of the field.
    """
    given = {key: value for key, value in values.items() if value is not None}
    names = {field.name for field in dataclasses.fields(TrainingSettings)}
    settings = TrainingSettings(**{key: value for key, value in given.items() if key in names})
    layout = layout_of(given, world_size)
    dtype = torch.bfloat16 if given.get("bf16") else torch.float16 if given.get("fp16") else torch.float32
    model_class = MLATransformerConfig if given.get("multi_latent_attention") else TransformerConfig
    model = {
        "transformer_impl": _implementation(gpu),
        "cuda_graph_scope": [],  # what the default, "full", means; that one is deprecated
        **_routed(given, keys.MODEL, model_class),
        **_derived_model_fields(given, settings, layout, dtype),
        "deallocate_pipeline_outputs": gpu,
    }
    _require_engine(given, model["transformer_impl"])
    ddp = {"grad_reduce_in_fp32": dtype is torch.bfloat16}
    return Arguments(
        settings=settings,
        layout=layout,
        transformer=_construct(model_class, model),
        optimizer=_construct(
            OptimizerConfig, {"min_lr": 0.0, "params_dtype": dtype, **_routed(given, keys.OPTIMIZER, OptimizerConfig)}
        ),
        ddp=_construct(DistributedDataParallelConfig, ddp | _routed(given, keys.DDP, DistributedDataParallelConfig)),
        dataset=dict(_routed(given, keys.DATASET, _dataset_config())),
        global_batch_size=settings.global_batch_size or settings.micro_batch_size * layout.data,
    )


def _dataset_config() -> Any:
    from megatron.core.datasets.gpt_dataset import GPTDatasetConfig

    return GPTDatasetConfig


def _implementation(gpu: bool) -> str:
    """The layer implementation when the experiment names none: Transformer Engine where it is, else megatron's own."""
    return "transformer_engine" if gpu and _engine_is_here() else "local"


def _engine_is_here() -> bool:
    from megatron.core.models.gpt import gpt_layer_specs

    return bool(gpt_layer_specs.HAVE_TE)


def _require_engine(given: Mapping[str, Any], implementation: str) -> None:
    """MissingError for what only Transformer Engine can do where it is not: megatron's own layers ignore it."""
    if implementation == "transformer_engine":
        asked = [] if _engine_is_here() else ["transformer_impl: transformer_engine"]
    else:
        asked = [key for key in ("fp8", "fp4") if key in given]
        asked += ["context_parallel_size"] if given.get("context_parallel_size", 1) > 1 else []
    if asked:
        raise MissingError(f"{', '.join(asked)} needs Transformer Engine, which is not installed here.")


def _routed(given: Mapping[str, Any], config: str, dataclass_type: Any) -> dict[str, Any]:
    """The fields of one dataclass that the keys set, by keys.ROUTES or by equal names."""
    hints = typing.get_type_hints(dataclass_type)
    own = {field.name for field in dataclasses.fields(dataclass_type) if field.init} - keys.DERIVED.get(
        config, frozenset()
    )
    fields: dict[str, Any] = {}
    for key, value in given.items():
        for route in _routes(key, config):
            if route.field in own:
                fields[route.field] = _FORMS[route.form](value, hints[route.field])
    return fields


def _routes(key: str, config: str) -> Iterator[keys.Route]:
    if key not in keys.ROUTES:
        yield keys.Route(config=config, field=key)
        return
    yield from (route for route in keys.ROUTES[key] if route.config == config)


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.uint8}

_FORMS: Mapping[str, Any] = {
    "same": lambda value, hint: value,
    "not": lambda value, hint: not value,
    "dtype": lambda value, hint: _DTYPES[value],
    "enum": lambda name, hint: _member(name, hint),  # noqa: PLW0108 - defined below
    "pattern": lambda value, hint: read_pattern(value),
    "pair": lambda value, hint: tuple(value),
}


def _member(name: str, hint: Any) -> enum.Enum:
    """The member of that name of the enum in a type annotation."""
    choices = (hint, *typing.get_args(hint))
    return next(choice[name] for choice in choices if isinstance(choice, enum.EnumMeta))


def _derived_model_fields(
    given: Mapping[str, Any], settings: TrainingSettings, layout: Layout, dtype: torch.dtype
) -> dict[str, Any]:
    """Fields of TransformerConfig that follow from several keys together, as Megatron-LM's arguments do it."""
    interleaved = layout.virtual is not None or given.get("pipeline_model_parallel_layout") is not None
    overlap = interleaved and given.get("overlap_p2p_comm", True)
    fields: dict[str, Any] = {
        "params_dtype": dtype,
        "pipeline_dtype": dtype,
        "virtual_pipeline_model_parallel_size": layout.virtual,
        "overlap_p2p_comm": overlap,
        "batch_p2p_comm": not overlap,
        # Without tensor parallelism there is nothing to split; TransformerConfig refuses it.
        "sequence_parallel": bool(given.get("sequence_parallel")) and layout.tensor > 1,
        **_activation(settings, biased=given.get("add_bias_linear", True)),
    }
    if not settings.group_query_attention:
        fields["num_query_groups"] = None
    if settings.swiglu and given.get("ffn_hidden_size") is None:
        fields["ffn_hidden_size"] = int(4 * given["hidden_size"] * 2 / 3 / 64) * 64
    if given.get("multi_latent_attention"):
        # As in Megatron-LM, an unset rank means queries that are not compressed; the dataclass would say 512.
        fields["q_lora_rank"] = given.get("q_lora_rank")
    if settings.init_method_xavier_uniform:
        fields["init_method"] = fields["output_layer_init_method"] = torch.nn.init.xavier_uniform_
    return fields


def _activation(settings: TrainingSettings, *, biased: bool) -> dict[str, Any]:
    from megatron.core.activations import squared_relu
    from megatron.core.fusions.fused_bias_geglu import quick_gelu

    silu = torch.nn.functional.silu
    if settings.swiglu:
        return {
            "activation_func": silu,
            "gated_linear_unit": True,
            "bias_activation_fusion": settings.bias_swiglu_fusion,
        }
    if settings.quick_geglu:
        return {"activation_func": quick_gelu, "gated_linear_unit": True, "bias_activation_fusion": False}
    if settings.squared_relu:
        return {"activation_func": squared_relu, "bias_activation_fusion": False}
    return {"bias_activation_fusion": settings.bias_gelu_fusion and biased}


def _construct(dataclass_type: Any, fields: Mapping[str, Any]) -> Any:
    """An object of megatron.core, whose own checks become a problem of the experiment."""
    try:
        return dataclass_type(**fields)
    except (AssertionError, ValueError, NotImplementedError, RuntimeError) as error:
        reason = str(error) or "an assertion without a message failed"
        raise ExperimentError(
            [Problem(message=f"megatron.core refuses these settings ({dataclass_type.__name__}): {reason}")]
        ) from error

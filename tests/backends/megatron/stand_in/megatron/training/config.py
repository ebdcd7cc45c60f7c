"""Options as fields of dataclasses."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal


class Backend(Enum):
    quick = 1
    exact = 2


@dataclass
class SizesConfig:
    """A base class: its fields come first."""

    num_layers: int = field(default=0, metadata={"argparse_meta": {"default": None}})
    """How many layers."""

    hidden_size: int = field(default=0, metadata={"argparse_meta": {"default": None}})
    """How wide they are. A second sentence."""


@dataclass
class ModelConfig(SizesConfig):
    """Of the model."""

    layernorm_epsilon: float = field(default=1e-5, metadata={"argparse_meta": {"arg_names": ["--norm-epsilon"]}})
    attention_backend: Backend = Backend.quick
    normalization: Literal["LayerNorm", "RMSNorm"] = "LayerNorm"
    add_bias_linear: bool = field(default=True, metadata={"argparse_meta": {"arg_names": ["--disable-bias-linear"]}})
    bias_dropout_fusion: bool = True
    sequence_parallel: bool = False
    spans: list[int] | None = None
    inner: dict = field(default_factory=dict)
    built: int = field(init=False, default=0)

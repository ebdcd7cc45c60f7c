"""What a backend can say of a run before it starts: sizes, layout and memory. `primus estimate` reckons with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from primus.metrics.accelerators import Precision
from primus.metrics.shape import ModelShape

Recompute = Literal["none", "selective", "full"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """How the processes of a run are divided among the kinds of parallelism."""

    tensor: int = 1
    sequence: bool = False
    """Tokens between tensor parallel products are divided as well."""

    pipeline: int = 1
    virtual: int = 1
    context: int = 1
    expert: int = 1
    expert_tensor: int = 1
    data: int = 1
    """Replicas that read different data."""

    replicate: int = 1
    """Of them, those that hold whole copies of what the others divide among themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageMemory:
    """Bytes on one device of one pipeline stage. docs/estimate.md has the formulas."""

    dense: int
    """Elements of the weights here, gathered from data parallelism, without padding and without routed experts."""

    experts: int
    """The same of routed experts."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """What the backward pass waits for, of all micro-batches under way."""

    workspace: int
    """What comes and goes: a layer that is computed again or gathered, and logits."""

    worst_experts: int = 0
    """More when the router sends every token to this device's experts, as many as can."""

    in_flight: float = 1
    """Micro-batches under way, in units of all layers of the stage."""

    layers: int
    sparse_layers: int
    """Of them, with experts."""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """What the processes of a group send each other inside a model: bytes of one micro-batch from each process, forward
    and backward."""

    group: str
    what: str
    size: int
    """Processes of the group."""

    reach: int
    """Processes from the first to the last of a group, in the order of the ranks."""

    dense: float = 0
    """Of one layer without experts."""

    sparse: float = 0
    """Of one layer with experts."""

    first: float = 0
    """Of the embedding."""

    last: float = 0
    """Of the output layer and the loss."""

    prediction: float = 0
    """Of one depth of multi-token prediction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One experiment on so many processes."""

    shape: ModelShape
    parts: Mapping[str, int]
    """Parameters of the whole model, by part."""

    active: int
    """Parameters that one token uses, without multi-token prediction."""

    split: Split
    stages: tuple[StageMemory, ...]
    micro_batch: int
    """Sequences."""

    micro_batches: int
    """Of one replica in one step."""

    steps: int | None
    precision: Precision
    recompute: Recompute
    width: int
    """Bytes of a number that travels between layers."""

    gradient_width: int
    weight_width: int
    """Bytes of a weight when it is gathered."""

    sharding: Literal["none", "optimizer", "weights"]
    """What data parallel processes divide among themselves."""

    gathers: int
    """Times that all weights are gathered in a step."""

    reductions: int
    """Times that all gradients are reduced in a step."""

    saved_width: int
    """Bytes of a checkpoint for each parameter."""

    exchanges: tuple[Exchange, ...]
    """Inside the model."""

    repeated: float
    """Share of the layers whose whole forward pass runs again before their backward pass."""

    folded: bool = False
    """The pipeline's second half goes back over the same devices, in a V."""

    shared_embedding: bool = False
    """The first and the last stage hold the same embedding."""

    gathered_once: int = 0
    """Elements of the last stage that stay gathered between forward and backward pass when the others do not."""

    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(self.parts.values())

    @property
    def global_batch(self) -> int:
        """Sequences of one step."""
        return self.micro_batch * self.micro_batches * self.split.data


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    """A layout to try."""

    split: Split
    micro_batch: int
    recompute: Recompute


Changes = Mapping[str, object]
"""Keys of an experiment with new values."""

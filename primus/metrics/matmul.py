"""The matrix multiplications that a model executes in training, from its shape and how it is divided. Pure.

Sizes are those that a BLAS library sees. It takes matrices column by column, torch keeps them row by row: torch's
`X·Wᵀ` of tokens × inputs and outputs × inputs is `D = op(A)·op(B)` with A the weight (T), B the tokens (N),
m outputs, n tokens and k inputs. Backends describe their layout; `primus tune shapes` shows the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from primus.metrics.shape import Attention, Experts, LatentAttention, Layer, ModelShape

Kind = Literal["linear", "attention", "expert"]
"""`linear` multiplies by a weight; `expert` too, with as many tokens as the router sends, here the mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matmul:
    """One multiplication of column-major matrices."""

    kind: Kind = "linear"
    trans_a: str = "N"
    trans_b: str = "N"
    m: int
    n: int
    k: int
    batch: int = 1
    weight_gradient: bool = False
    """D is the gradient of a weight, which may be summed up in place."""

    high_precision: bool = False
    """In float32 whatever the model's type is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A multiplication of the forward pass, and those that its backward pass needs."""

    part: str
    """Which one: `attention.query`, `experts.in` ..."""

    forward: Matmul
    backward: tuple[Matmul, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """How a backend divides one micro-batch of the model among processes, and which layers it joins."""

    sequences: int
    """In one micro-batch."""

    sequence: int
    """Tokens of each that one process has."""

    tensor: int = 1
    expert: int = 1
    expert_tensor: int = 1
    sequence_parallel: bool = False
    """Between the layers' products each tensor parallel process has its part of the tokens only."""

    joined_projections: bool
    """One weight for queries, keys and values, and one for gate and input of a feed-forward part."""

    fused_attention: bool
    """Attention is one kernel, not products."""

    split_latents: bool = True
    """Tensor parallelism also divides the projections down to the latent vectors."""

    router_in_float32: bool = False
    grouped_experts: bool = False
    """Experts run in a kernel of their own, which is no product of a BLAS library."""

    split_router_tokens: bool = False
    """With sequence parallelism, a process routes its part of the tokens only."""

    @property
    def tokens(self) -> int:
        return self.sequences * self.sequence


def _never(step: Step) -> bool:
    return False


Precision = Literal["bf16", "fp16", "fp32"]


@dataclass(kw_only=True, slots=True)
class Tally:
    """Multiplications of one training step: how often all processes together run each, and how many processes do."""

    precision: Precision
    accumulated: bool = False
    """Gradients of weights are summed up in float32 by the multiplication itself."""

    calls: Counter[Matmul] = field(default_factory=Counter)
    ranks: Counter[Matmul] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    """What is not known before the run, and what stands here instead."""

    def add(self, steps: Iterable[Step], *, times: int, ranks: int, again: Callable[[Step], bool] = _never) -> None:
        """All steps that a group of `ranks` processes runs, each `times`. `again`: the backward pass repeats it."""
        calls: Counter[Matmul] = Counter()
        for step in steps:
            calls[step.forward] += 1 + again(step)
            calls.update(step.backward)
        self.calls.update({matmul: count * times * ranks for matmul, count in calls.items()})
        self.ranks.update(dict.fromkeys(calls, ranks))


def layer_steps(shape: ModelShape, division: Division, layer: Layer) -> list[Step]:
    """One transformer layer, in the order of the forward pass."""
    return [*_attention(shape, division), *_inner(shape, division, layer)]


def output_steps(shape: ModelShape, division: Division) -> list[Step]:
    """The logits."""
    return [_linear("output", division.tokens, shape.hidden, shape.padded_vocabulary // division.tensor)]


def prediction_steps(shape: ModelShape, division: Division) -> list[Step]:
    """One depth of multi-token prediction: two vectors to one, a layer like the last, and logits."""
    join = _linear("prediction.join", division.tokens, 2 * shape.hidden, shape.hidden // division.tensor)
    return [join, *layer_steps(shape, division, shape.layers[-1]), *output_steps(shape, division)]


def _linear(part: str, tokens: int, inputs: int, outputs: int, *, kind: Kind = "linear", high: bool = False) -> Step:
    """A product with a weight of outputs × inputs, and the gradients of its input and of its weight."""
    return Step(
        part=part,
        forward=Matmul(kind=kind, trans_a="T", m=outputs, n=tokens, k=inputs, high_precision=high),
        backward=(
            Matmul(kind=kind, m=inputs, n=tokens, k=outputs, high_precision=high),
            Matmul(kind=kind, trans_b="T", m=inputs, n=outputs, k=tokens, weight_gradient=True, high_precision=high),
        ),
    )


def _attention(shape: ModelShape, division: Division) -> list[Step]:
    attention = shape.attention
    if isinstance(attention, LatentAttention):
        projections, query, value = _latent_projections(shape, division, attention)
    else:
        projections, query, value = _projections(shape, division, attention)
    heads = attention.heads // division.tensor
    core = [] if division.fused_attention else _scores(division, heads, query, value)
    return [*projections, *core, _linear("attention.out", division.tokens, heads * value, shape.hidden)]


def _projections(shape: ModelShape, division: Division, attention: Attention) -> tuple[list[Step], int, int]:
    tokens, size, hidden = division.tokens, attention.head_size, shape.hidden
    query = attention.heads * size // division.tensor
    key = attention.key_value_heads * size // division.tensor
    if division.joined_projections:
        outputs = query * (2 if attention.gated else 1) + 2 * key
        return [_linear("attention.query_key_value", tokens, hidden, outputs)], size, size
    names = {"query": query, "key": key, "value": key}
    return [_linear(f"attention.{name}", tokens, hidden, outputs) for name, outputs in names.items()], size, size


def _latent_projections(
    shape: ModelShape, division: Division, attention: LatentAttention
) -> tuple[list[Step], int, int]:
    tokens, hidden = division.tokens, shape.hidden
    size = attention.plain_size + attention.rotary_size
    query = attention.heads * size // division.tensor
    up = attention.heads * (attention.plain_size + attention.value_size) // division.tensor
    down = attention.key_value_rank + attention.rotary_size
    parts = division.tensor if division.split_latents else 1
    # What is not divided among the processes works on a part of the tokens where these are.
    down_tokens = tokens if division.split_latents or not division.sequence_parallel else tokens // division.tensor
    if attention.query_rank is None:
        queries = [_linear("attention.query", tokens, hidden, query)]
    else:
        queries = [
            _linear("attention.query_down", down_tokens, hidden, attention.query_rank // parts),
            _linear("attention.query_up", tokens, attention.query_rank, query),
        ]
    keys_values = [
        _linear("attention.key_value_down", down_tokens, hidden, down // parts),
        _linear("attention.key_value_up", tokens, attention.key_value_rank, up),
    ]
    return [*queries, *keys_values], size, attention.value_size


def _scores(division: Division, heads: int, query: int, value: int) -> list[Step]:
    """Queries times keys, then the weights times values, for all heads of all sequences in one call each."""
    batch, length = division.sequences * heads, division.sequence

    def product(trans: str, m: int, n: int, k: int) -> Matmul:
        return Matmul(kind="attention", trans_a=trans[0], trans_b=trans[1], m=m, n=n, k=k, batch=batch)

    return [
        Step(
            part="attention.scores",
            forward=product("TN", length, length, query),
            backward=(product("NN", query, length, length), product("NT", length, query, length)),
        ),
        Step(
            part="attention.context",
            forward=product("NN", value, length, length),
            backward=(product("TN", length, length, value), product("NT", value, length, length)),
        ),
    ]


def _inner(shape: ModelShape, division: Division, layer: Layer) -> list[Step]:
    if not layer.experts or shape.experts is None:
        size = shape.feed_forward // division.tensor
        return _feed_forward("feed_forward", shape, division, division.tokens, shape.hidden, size)
    return _experts(shape, division, shape.experts)


def _feed_forward(
    part: str, shape: ModelShape, division: Division, tokens: int, width: int, size: int, *, kind: Kind = "linear"
) -> list[Step]:
    into = [_linear(f"{part}.in", tokens, width, size, kind=kind)]
    if shape.gated and division.joined_projections:
        into = [_linear(f"{part}.in", tokens, width, 2 * size, kind=kind)]
    elif shape.gated:
        into.append(_linear(f"{part}.gate", tokens, width, size, kind=kind))
    return [*into, _linear(f"{part}.out", tokens, size, width, kind=kind)]


def _experts(shape: ModelShape, division: Division, experts: Experts) -> list[Step]:
    tokens, hidden = division.tokens, shape.hidden
    own = tokens // division.tensor if division.sequence_parallel else tokens
    width = experts.latent_size or hidden
    routed = own if division.split_router_tokens else tokens
    steps = [_linear("router", routed, hidden, experts.count, high=division.router_in_float32)]
    if experts.latent_size:
        steps.append(_linear("experts.latent_down", own, hidden, width))
    if not division.grouped_experts:
        # Every process of the expert groups sends its tokens' visits, evenly in the mean.
        visits = own * experts.active * division.expert * division.expert_tensor
        each = max(1, round(visits / experts.count))
        size = experts.size // division.expert_tensor
        one = _feed_forward("experts", shape, division, each, width, size, kind="expert")
        steps += one * (experts.count // division.expert)
    if experts.latent_size:
        steps.append(_linear("experts.latent_up", own, width, hidden))
    if experts.shared_size:
        size = experts.shared_size // division.tensor
        steps += _feed_forward("shared_experts", shape, division, tokens, hidden, size)
    if experts.shared_gated:
        steps.append(_linear("shared_experts.gate", own, hidden, 1))
    return steps

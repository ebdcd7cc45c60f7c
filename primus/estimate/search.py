"""All ways to lay an experiment out on so many accelerators: which fit, how fast each should be, and why others fail.

Divisibility is decided here, for thousands of layouts at once; the backend's own checks have the last word on those
that are shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from primus.backends.account import Account, Arrangement, Recompute, Split
from primus.backends.base import Backend
from primus.errors import Origin
from primus.estimate.rates import Rates
from primus.estimate.timing import Timing, step_time
from primus.experiment import Experiment, Value
from primus.job import Resources
from primus.metrics.flops import forward_flops

MICRO_BATCHES = (1, 2, 4, 8)
RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")
VIRTUAL = (1, 2, 4)
USABLE = 0.9
"""Part of an accelerator's memory that a layout may need; libraries, communication and uneven experts take the rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A layout that fits."""

    arrangement: Arrangement
    account: Account
    timing: Timing
    memory: int
    """Bytes of the stage that needs the most."""


@dataclass(kw_only=True, slots=True)
class Rejected:
    """Layouts that fail for one reason."""

    count: int = 0
    example: str = ""


@dataclass(kw_only=True, slots=True)
class Search:
    """What was found."""

    tried: int = 0
    fitting: list[Found] = field(default_factory=list)
    """Best first."""

    rejected: dict[str, Rejected] = field(default_factory=dict)

    def reject(self, reason: str, example: str) -> None:
        row = self.rejected.setdefault(reason, Rejected())
        row.count += 1
        row.example = row.example or example


def search(
    backend: Backend, experiment: Experiment, resources: Resources, *, limit: float, rates: Rates, shown: int
) -> Search:
    """Every layout of these devices, with `limit` bytes of memory each. The best `shown` pass the backend's checks."""
    found = Search()
    start = backend.account(experiment, resources.world_size)
    flops = forward_flops(start.shape)
    for arrangement in arrangements(start, resources):
        found.tried += 1
        reason = _impossible(start, arrangement, resources.world_size)
        if reason is not None:
            found.reject(reason, words(arrangement))
            continue
        account = backend.account(arranged(backend, experiment, arrangement), resources.world_size)
        if account.split.virtual != arrangement.split.virtual:
            found.reject("the backend has another number of virtual stages", words(arrangement))
            continue
        memory = max(stage.total for stage in account.stages)
        if memory > limit:
            found.reject("needs more memory than there is", f"{words(arrangement)}: {memory / 2**30:,.0f} GiB")
            continue
        timing = step_time(account, rates, devices=resources.world_size, per_node=resources.nproc_per_node, flops=flops)
        found.fitting.append(Found(arrangement=arrangement, account=account, timing=timing, memory=memory))
    found.fitting.sort(key=lambda each: -each.timing.tokens_per_second)
    _check(backend, experiment, resources, found, shown)
    return found


def arranged(backend: Backend, experiment: Experiment, arrangement: Arrangement) -> Experiment:
    """The experiment with other values for the keys of its layout."""
    return dataclasses.replace(experiment, values=_changed(experiment.values, backend.arrange(experiment, arrangement)))


def words(arrangement: Arrangement) -> str:
    """`tp 2 pp 4 mbs 1 full`: what is not 1."""
    split = arrangement.split
    sizes = {"tp": split.tensor, "pp": split.pipeline, "vp": split.virtual, "cp": split.context, "ep": split.expert}
    parts = [f"{name} {size}" for name, size in sizes.items() if size > 1]
    return " ".join([*parts, f"dp {split.data}", f"micro batch {arrangement.micro_batch}", arrangement.recompute])


def arrangements(account: Account, resources: Resources) -> Iterator[Arrangement]:
    """Powers of two for every degree; tensor parallelism stays inside a node."""
    world = resources.world_size
    experts = account.shape.experts
    expert_sizes = [1] if experts is None else list(_powers(min(world, experts.count)))
    for tensor in _powers(resources.nproc_per_node):
        for pipeline in _powers(world // tensor):
            for context in _powers(min(8, world // tensor // pipeline)):
                data = world // (tensor * pipeline * context)
                for expert in expert_sizes:
                    for virtual in VIRTUAL if pipeline > 1 else (1,):
                        split = Split(
                            tensor=tensor,
                            sequence=tensor > 1,
                            pipeline=pipeline,
                            virtual=virtual,
                            context=context,
                            expert=expert,
                            expert_tensor=tensor,
                            data=data,
                        )
                        for micro in MICRO_BATCHES:
                            for recompute in RECOMPUTE:
                                yield Arrangement(split=split, micro_batch=micro, recompute=recompute)


def _powers(most: int) -> Iterator[int]:
    size = 1
    while size <= most:
        yield size
        size *= 2


_RULES: Mapping[str, Callable[[Account, Arrangement, int], bool]] = {
    "degrees do not divide the devices": lambda account, each, world: (
        world % (each.split.tensor * each.split.pipeline * each.split.context) == 0
    ),
    "tensor parallelism does not divide the attention heads": lambda account, each, world: (
        account.shape.attention.heads % each.split.tensor == 0
    ),
    "tensor parallelism does not divide the key-value heads": lambda account, each, world: (
        getattr(account.shape.attention, "key_value_heads", 0) % each.split.tensor == 0
    ),
    "fewer layers than pipeline stages, or not divisible by them": lambda account, each, world: (
        len(account.shape.layers) % (each.split.pipeline * each.split.virtual) == 0
    ),
    "tensor and context parallelism do not divide the sequence": lambda account, each, world: (
        account.shape.sequence % (2 * each.split.context * each.split.tensor) == 0
    ),
    "more expert parallelism than data and context parallel devices": lambda account, each, world: (
        (each.split.data * each.split.context) % each.split.expert == 0
    ),
    "the global batch is not a multiple of micro batch and data parallelism": lambda account, each, world: (
        account.global_batch % (each.micro_batch * each.split.data) == 0
    ),
    "fewer micro batches than pipeline stages": lambda account, each, world: (
        account.global_batch // (each.micro_batch * each.split.data) >= each.split.pipeline
    ),
    "virtual stages need micro batches in multiples of the pipeline": lambda account, each, world: (
        each.split.virtual == 1
        or account.global_batch // (each.micro_batch * each.split.data) % each.split.pipeline == 0
    ),
}
"""What a layout must keep to, by what is wrong when it does not."""


def _impossible(account: Account, arrangement: Arrangement, world: int) -> str | None:
    return next((reason for reason, holds in _RULES.items() if not holds(account, arrangement, world)), None)


def _check(backend: Backend, experiment: Experiment, resources: Resources, found: Search, shown: int) -> None:
    """Take out what the backend refuses, until as many as are shown have passed."""
    passed = 0
    kept: list[Found] = []
    for number, each in enumerate(found.fitting):
        if passed == shown:
            kept += found.fitting[number:]
            break
        problems = backend.check(arranged(backend, experiment, each.arrangement), resources)
        error = next((problem for problem in problems if problem.severity == "error"), None)
        if error is None:
            passed += 1
            kept.append(each)
        else:
            found.reject(f"the backend refuses {error.key}", f"{words(each.arrangement)}: {error.message}")
    found.fitting = kept


_ORIGIN = Origin(kind="option", name="--search")


def _changed(tree: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, Any]:
    """A copy of the values with others at dotted keys."""
    found = dict(tree)
    for key, data in changes.items():
        section, dot, rest = key.partition(".")
        if dot:
            inner = found.get(section, {})
            found[section] = _changed(inner if isinstance(inner, Mapping) else {}, {rest: data})
        else:
            found[section] = Value(data=data, origin=_ORIGIN, path=key)
    return found

"""What the workers measure, as values: the steps in their order, who exchanges data with whom, sizes, and the formulas
of bandwidth. Pure; worker.py follows it, the report explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

REQUEST = "doctor/request.json"
"""In the run directory, what the workers are asked: `full`, `accelerator` and `limit`."""

Scope = Literal["node", "all"]
"""Among the workers of a node, or among all."""

BUS: Mapping[str, str] = {
    "all_reduce": "2(n-1)/n",
    "all_gather": "(n-1)/n",
    "all_to_all": "(n-1)/n",
    "pairs": "1",
    "ring": "1",
}
"""By what bytes over time is multiplied to give the bandwidth of the bus, as nccl-tests has it, for n ranks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much is measured, on one kind of device."""

    gemm: Mapping[str, int]
    """Edge of the square matrices, by precision."""

    copy_bytes: int
    message_bytes: int
    seconds: float
    """For one measurement, about."""

    pair_rounds: int
    """Rounds of pairs between nodes, at most; each node meets so many others."""


SIZES: Mapping[tuple[bool, bool], Sizes] = {
    (False, False): Sizes(
        gemm={"fp32": 512, "bf16": 512}, copy_bytes=32 << 20, message_bytes=1 << 20, seconds=0.4, pair_rounds=3
    ),
    (False, True): Sizes(
        gemm={"fp32": 1024, "bf16": 1024}, copy_bytes=256 << 20, message_bytes=8 << 20, seconds=3.0, pair_rounds=1000
    ),
    (True, False): Sizes(gemm={"bf16": 8192}, copy_bytes=1 << 30, message_bytes=256 << 20, seconds=1.0, pair_rounds=3),
    (True, True): Sizes(
        gemm={"bf16": 8192, "fp16": 8192, "fp32": 4096},
        copy_bytes=4 << 30,
        message_bytes=1 << 30,
        seconds=5.0,
        pair_rounds=1000,
    ),
}
"""By whether there are GPUs, and whether all is wanted."""

STEP_SECONDS = {False: 45.0, True: 120.0}
"""After so long in one step a worker counts as hanging; by whether all is wanted."""

BATCHES = 5
"""Each measurement is made so many times; its value is the median, its spread the distance from that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One measurement."""

    what: str
    scope: Scope | None = None
    """None for what a worker does alone."""

    @property
    def name(self) -> str:
        return self.what if self.scope is None else f"{self.what} {self.scope}"


def steps(*, precisions: Sequence[str], nnodes: int, per_node: int) -> list[Step]:
    """What is measured on such a job."""
    alone = [*(Step(what=f"gemm {precision}") for precision in precisions), Step(what="memory copy")]
    scopes: list[Scope] = [*(["node"] if per_node > 1 else []), *(["all"] if nnodes > 1 else [])]  # type: ignore[list-item]
    together = [Step(what=what, scope=scope) for scope in scopes for what in BUS if what != "ring"]
    ring = [Step(what="ring", scope="all")] if nnodes * per_node > 1 else []
    return [*alone, *together, *ring]


def bus_factor(what: str, ranks: int) -> float:
    """The factor of BUS for so many ranks."""
    share = (ranks - 1) / ranks
    return {"all_reduce": 2 * share, "all_gather": share, "all_to_all": share}.get(what, 1.0)


def rounds(members: int, most: int) -> list[dict[int, int]]:
    """Pairs of a tournament, in which each member meets every other once, no two in a round twice; of many rounds,
    `most` that are spread over all of them. Each round says who meets whom, from both sides."""
    count = members + members % 2
    order = list(range(count))
    found = []
    for _ in range(count - 1):
        pairs = [(order[index], order[count - 1 - index]) for index in range(count // 2)]
        met = {a: b for a, b in pairs if max(a, b) < members}
        found.append(met | {b: a for a, b in met.items()})
        order = [order[0], order[-1], *order[1:-1]]
    if len(found) <= most:
        return found
    return [found[index * len(found) // most] for index in range(most)]

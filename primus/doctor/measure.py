"""Rates of one device and of the connections between devices, with torch. worker.py calls it in every worker."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from primus.doctor.plan import BATCHES, Scope, Sizes, bus_factor, rounds

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MOST_REPEATS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds of one operation: the median of the batches, and the median distance from it."""

    seconds: float
    spread: float

    def rate(self, amount: float) -> tuple[float, float]:
        """Amount per second, with its spread."""
        return amount / self.seconds, amount / self.seconds * self.spread / self.seconds


class Bench:
    """Measures as one rank among the others; all ranks call the same methods in the same order."""

    def __init__(self, device: torch.device, sizes: Sizes, *, rank: int, local_rank: int, per_node: int) -> None:
        self._device, self._sizes = device, sizes
        self._rank, self._local_rank, self._per_node = rank, local_rank, per_node
        self._world = dist.get_world_size() if dist.is_initialized() else 1
        self._node_group: Any = None
        for first in range(0, self._world, per_node) if 1 < per_node < self._world else ():
            group = dist.new_group(list(range(first, first + per_node)))
            if first <= rank < first + per_node:
                self._node_group = group

    def gemm(self, precision: str) -> tuple[float, float]:
        """10^12 operations per second."""
        edge = self._sizes.gemm[precision]
        a, b = (torch.randn(edge, edge, device=self._device).to(_DTYPES[precision]) for _ in range(2))
        out = torch.empty_like(a)
        with torch.no_grad():
            return self._time(lambda: torch.mm(a, b, out=out), alone=True).rate(2 * edge**3 / 1e12)

    def copy(self) -> tuple[float, float]:
        """10^12 bytes per second; each byte is read once and written once."""
        source = torch.ones(self._sizes.copy_bytes, dtype=torch.uint8, device=self._device)
        target = torch.empty_like(source)
        return self._time(lambda: target.copy_(source), alone=True).rate(2 * self._sizes.copy_bytes / 1e12)

    def collective(self, what: str, scope: Scope) -> tuple[float, float]:
        """10^9 bytes per second of the bus."""
        group, ranks = self._group(scope)
        count = self._sizes.message_bytes // 4 // ranks * ranks
        whole = torch.ones(count, device=self._device)
        part, other = whole[: count // ranks].clone(), torch.empty_like(whole)
        operations: dict[str, Callable[[], Any]] = {
            "all_reduce": lambda: dist.all_reduce(whole, group=group),
            "all_gather": lambda: dist.all_gather_into_tensor(whole, part, group=group),
            "all_to_all": lambda: dist.all_to_all_single(other, whole, group=group),
        }
        return self._time(operations[what]).rate(count * 4 / 1e9 * bus_factor(what, ranks))

    def pairs(self, scope: Scope) -> list[tuple[int, tuple[float, float]]]:
        """10^9 bytes per second in each direction with each partner, both at once."""
        node = self._rank // self._per_node
        if scope == "node":
            plan = rounds(self._per_node, self._per_node)
            me, first, stride = self._local_rank, node * self._per_node, 1
        else:
            plan = rounds(self._world // self._per_node, self._sizes.pair_rounds)
            me, first, stride = node, self._local_rank, self._per_node
        found = []
        for met in plan:
            partner = first + stride * met[me] if me in met else None
            measured = self._exchange(partner, partner)
            if partner is not None:
                found.append((partner, measured.rate(self._sizes.message_bytes / 1e9)))
        return found

    def ring(self) -> tuple[float, float]:
        """10^9 bytes per second to the next rank, while as much comes from the one before."""
        measured = self._exchange((self._rank + 1) % self._world, (self._rank - 1) % self._world)
        return measured.rate(self._sizes.message_bytes / 1e9)

    def _exchange(self, to: int | None, source: int | None) -> Measured:
        sent = torch.ones(self._sizes.message_bytes // 4, device=self._device)
        received = torch.empty_like(sent)

        def exchange() -> None:
            if to is None or source is None:
                return
            operations = [dist.P2POp(dist.isend, sent, to), dist.P2POp(dist.irecv, received, source)]
            for work in dist.batch_isend_irecv(operations):
                work.wait()

        return self._time(exchange)

    def _group(self, scope: Scope) -> tuple[Any, int]:
        if scope == "node":
            return self._node_group, self._per_node
        return None, self._world

    def _time(self, operation: Callable[[], Any], *, alone: bool = False) -> Measured:
        """Seconds of an operation. All ranks make it equally often; how often is agreed on after a first try."""
        operation()
        repeats = max(1, int(self._sizes.seconds / BATCHES / self._longest(self._once(operation, 2))))
        repeats = min(repeats, _MOST_REPEATS)
        batches = []
        for _ in range(BATCHES):
            if not alone and self._world > 1:
                self._longest(0.0)  # all begin together
            batches.append(self._once(operation, repeats))
        middle = statistics.median(batches)
        return Measured(seconds=middle, spread=statistics.median(abs(each - middle) for each in batches))

    def _once(self, operation: Callable[[], Any], repeats: int) -> float:
        self._wait()
        begin = time.perf_counter()
        for _ in range(repeats):
            operation()
        self._wait()
        return max(1e-9, (time.perf_counter() - begin) / repeats)

    def _longest(self, seconds: float) -> float:
        """The most that any rank has measured."""
        if self._world == 1:
            return seconds
        value = torch.tensor([seconds], device=self._device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return max(1e-9, float(value))

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

"""How Megatron lays the gradients of one chunk out in buffers, and what part of them each process' optimizer owns.

megatron.core's _ParamAndGradBuffer and DistributedOptimizer do it with tensors; this repeats their arithmetic.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from primus.backends.megatron.weights import Weight

PARAMETER = 64
"""Elements to whose multiples a parameter's start is moved, with the distributed optimizer."""

BUCKET = 128
"""The same for the end of a bucket, besides the number of processes that share it."""

FAST_BUCKET = 2**16
"""The same with ddp_pad_buckets_for_high_nccl_busbw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Buffer:
    """One buffer of gradients."""

    numel: int
    """With padding."""

    places: tuple[tuple[int, int], ...]
    """First and last element of each parameter, last parameter first."""

    buckets: tuple[tuple[int, int], ...]

    def owned(self, ranks: int) -> list[int]:
        """Elements of parameters that each of so many processes keeps the optimizer's state of."""
        ends = [end for _, end in self.buckets]
        # What changes from each rank to the next, so that a weight over many ranks is one entry.
        change = [0] * (ranks + 1)
        found = [0] * ranks
        for first, last in self.places:
            start, end = self.buckets[bisect_right(ends, first)]
            share = (end - start) // ranks
            low, high = (first - start) // share, (last - 1 - start) // share
            change[low] += share
            change[high + 1] -= share
            found[low] -= first - start - low * share
            found[high] -= start + (high + 1) * share - last
        return [missing + whole for missing, whole in zip(found, accumulate(change), strict=False)]


def lay_out(
    weights: Sequence[Weight], *, ranks: int, sharded: bool, bucket_size: int | None, fast: bool = False
) -> Buffer:
    """The buffer of these weights. `sharded`: by the distributed optimizer, among `ranks` processes."""
    alignment = PARAMETER if sharded else 1
    divisor = math.lcm(ranks, BUCKET, FAST_BUCKET if fast else 1) if sharded else 1
    places, buckets = [], []
    bucket = end = 0
    for weight in reversed(weights):
        start = _up(end, alignment)
        alone = weight.shared and sharded
        if alone and end > bucket:
            start = _up(start, divisor)
            buckets.append((bucket, start))
            bucket = start
        end = start + weight.numel
        places.append((start, end))
        if alone or (bucket_size is not None and end - bucket >= bucket_size):
            end = _up(end, divisor)
            buckets.append((bucket, end))
            bucket = end
    if end > bucket:
        end = _up(end, divisor)
        buckets.append((bucket, end))
    return Buffer(numel=end, places=tuple(places), buckets=tuple(buckets))


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple

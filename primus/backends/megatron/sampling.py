"""Which samples of the data each process reads, from any sample on. data.py hands it to the data loader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from primus.errors import ExperimentError, Problem


class MicroBatches:
    """Sample numbers of one replica's micro-batches: a global batch is the same set of samples for every layout."""

    def __init__(self, total: int, *, consumed: int, size: int, rank: int, replicas: int, seed: int | None) -> None:
        self._total = total
        self._consumed = consumed
        self._size = size
        self._rank = rank
        self._replicas = replicas
        self._seed = seed
        """Shuffles each pass over the data anew; None keeps the dataset's own order."""

    def __iter__(self) -> Iterator[Sequence[int]]:
        step = self._size * self._replicas
        per_pass = self._total - self._total % step
        if not per_pass:
            raise ExperimentError(
                [Problem(message=f"the data has {self._total} samples; one micro-batch of all replicas needs {step}")]
            )
        position = self._consumed
        while True:
            number, start = divmod(position, per_pass)
            order = self._order(number, per_pass)
            for begin in range(start, per_pass, step):
                mine = begin + self._rank * self._size
                yield order[mine : mine + self._size]
            position = (number + 1) * per_pass

    def _order(self, number: int, length: int) -> Sequence[int]:
        if self._seed is None:
            return range(length)
        import torch

        generator = torch.Generator().manual_seed(self._seed + number)
        return cast(Sequence[int], torch.randperm(length, generator=generator).tolist())

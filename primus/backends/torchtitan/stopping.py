"""What ends training early, agreed on by all ranks: a signal, or a loss that is no finite number. trainer.py asks."""

from __future__ import annotations

import signal

import torch
import torch.distributed as dist

from primus.backends.worker import Worker
from primus.errors import PrimusError


class Diverged(PrimusError):
    """The loss, or a weight, is NaN or infinite."""


class StopRequests:
    """Whether some rank was asked to stop. A round of agreement runs beside each step and is read at the next one, so
    it costs no time; all ranks stop after the same step, one after the signal."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._group = dist.new_group(backend="gloo") if worker.world_size > 1 else None
        self._round: tuple[torch.Tensor, dist.Work] | None = None

    def agreed(self) -> signal.Signals | None:
        """The signal to stop for, the same on all ranks. Call it once per step, on every rank."""
        if self._group is None:
            return self._worker.stop_signal
        number = self.close()
        if number:
            return signal.Signals(number)
        mine = torch.tensor([int(self._worker.stop_signal or 0)])
        self._round = (mine, dist.all_reduce(mine, dist.ReduceOp.MAX, group=self._group, async_op=True))
        return None

    def close(self) -> int:
        """Wait for the round that is under way; the signal that it agreed on, or 0."""
        if self._round is None:
            return 0
        number, work = self._round
        self._round = None
        work.wait()
        return int(number.item())


class FiniteLoss:
    """Remembers on the device the first step with a loss that is not finite: looking costs a synchronization, so it is
    done only when a step is logged or saved."""

    def __init__(self, device: torch.device) -> None:
        self._first_bad = torch.full((), _NEVER, device=device)

    def note(self, loss: torch.Tensor, step: int) -> None:
        finite = torch.isfinite(loss.detach()).all()
        self._first_bad = torch.where(finite, self._first_bad, self._first_bad.clamp(max=step))

    def first_bad_step(self) -> int | None:
        """The first step that went wrong on any rank. Every rank must call it."""
        if dist.get_world_size() > 1:
            dist.all_reduce(self._first_bad, dist.ReduceOp.MIN)
        first = int(self._first_bad.item())
        return None if first == _NEVER else first


def all_finite(tensors: list[torch.Tensor], device: torch.device) -> bool:
    """Whether these tensors are finite on all ranks. Every rank must call it."""
    finite = torch.stack([torch.isfinite(each).all() for each in tensors]).all().to(device, torch.int32)
    if dist.get_world_size() > 1:
        dist.all_reduce(finite, dist.ReduceOp.MIN)
    return bool(finite.item())


_NEVER = 2**31 - 1

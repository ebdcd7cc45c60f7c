"""What a special kind of training adds to it, such as a stage of the GEMM tuning: training.py calls these methods in
this order. The class itself adds nothing."""

from __future__ import annotations

from primus.backends.base import Backend
from primus.job import Job


class Stage:
    """Training as ever."""

    def sets(self, backend: Backend) -> tuple[str, ...]:
        """What to set in the experiment besides the user's own, as KEY=VALUE."""
        return ()

    def done_before(self) -> str | None:
        """Why there is nothing to do, in words; None when there is."""
        return None

    def require(self, *, dry_run: bool) -> None:
        """Raise PrimusError when it can't be. A dry run starts no process and changes nothing."""

    def plan(self, job: Job) -> Job:
        """The job with what the stage needs. Pure."""
        return job

    def begin(self, job: Job) -> None:
        """Make ready on this node, right before the workers start; called for each attempt."""

    def finish(self, status: int) -> int:
        """After the training; the exit status of the whole, which is `status` unless the stage itself failed."""
        return status

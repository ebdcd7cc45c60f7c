"""The contract between `primus k8s` and a place where workloads run: a Primus-SaFE server, or a cluster itself. Answers
are plain data as the server sent it; the rows read from it are alike everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from primus.launch.k8s.listing import Filters
from primus.launch.k8s.rows import NodeRow, Pod, WorkloadRow
from primus.launch.k8s.workload import Workload


class Target(Protocol):
    """One server or cluster, in one workspace or namespace; a context that holds its connections."""

    def __enter__(self) -> Target: ...

    def __exit__(self, *error: object) -> None: ...

    def create(self, workload: Workload) -> Any: ...

    def created_id(self, answer: Any) -> str:
        """The new workload's id in what create() returned."""
        ...

    def get(self, id: str) -> Any: ...

    def pods(self, answer: Any) -> Sequence[Pod]:
        """In what get() returned."""
        ...

    def row(self, answer: Any) -> WorkloadRow:
        """In what get() returned."""
        ...

    def exit_status(self, answer: Any) -> int | None:
        """In what get() returned: None while the workload is not over, 0 when it succeeded."""
        ...

    def workloads(self, filters: Filters) -> Any: ...

    def rows(self, answer: Any) -> Sequence[WorkloadRow]:
        """In what workloads() returned."""
        ...

    def nodes(self) -> Any: ...

    def node_rows(self, answer: Any) -> Sequence[NodeRow]:
        """In what nodes() returned."""
        ...

    def stop(self, id: str) -> Any:
        """End the workload; what it has written down stays."""
        ...

    def delete(self, id: str) -> Any: ...

    def logs(self, id: str, pod: str, *, lines: int) -> Sequence[str]:
        """The last lines of a pod."""
        ...

    def follow(self, id: str, pod: str | None, *, lines: int, show: Callable[[str, str], None]) -> None:
        """show(pod, line) for each line of this pod or of all, old and new, until the workload has ended."""
        ...

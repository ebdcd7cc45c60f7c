"""A Primus-SaFE server as a target of `primus k8s`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from primus.launch.k8s.http import Http
from primus.launch.k8s.listing import Filters, select
from primus.launch.k8s.rows import NodeRow, Pod, WorkloadRow
from primus.launch.k8s.safe import answers
from primus.launch.k8s.safe.access import Access
from primus.launch.k8s.safe.body import create_body
from primus.launch.k8s.safe.client import Safe
from primus.launch.k8s.safe.follow import follow
from primus.launch.k8s.workload import Workload, require_name


class SafeTarget:
    """One server; `workspace` is where workloads are created, and which lists are limited to when it is given."""

    def __init__(self, access: Access, *, workspace: str | None = None) -> None:
        self._http = Http(access.endpoint())
        self._safe = Safe(self._http)
        self._workspace = None if workspace is None else require_name(workspace, "--workspace")

    def __enter__(self) -> SafeTarget:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.__exit__(*error)

    def preview(self, workload: Workload) -> Any:
        return create_body(workload, self._workspace or "")

    def create(self, workload: Workload) -> Any:
        return self._safe.create(workload, self._workspace or "")

    def created_id(self, answer: Any) -> str:
        return answers.text(answer, "workloadId")

    def get(self, id: str) -> Any:
        return self._safe.get(id)

    def pods(self, answer: Any) -> Sequence[Pod]:
        return answers.pods_of(answer)

    def row(self, answer: Any) -> WorkloadRow:
        return answers.workload_row(answer)

    def exit_status(self, answer: Any) -> int | None:
        return answers.exit_status(answer)

    def workloads(self, filters: Filters) -> Any:
        """As the server shows a page. What it can't filter, because it is old, is left out here."""
        found = self._safe.workloads(
            {
                "workspaceId": self._workspace,
                "userName": filters.user,
                "phase": filters.phase,
                "since": _moment(filters.since),
                "until": _moment(filters.until),
            }
        )
        items = [item for item in select(found, answers.workload_row, filters) if self._is_here(item)]
        return {"totalCount": len(items), "items": items}

    def rows(self, answer: Any) -> Sequence[WorkloadRow]:
        return [answers.workload_row(item) for item in answer["items"]]

    def nodes(self) -> Any:
        return self._safe.nodes({"workspaceId": self._workspace})

    def node_rows(self, answer: Any) -> Sequence[NodeRow]:
        return [answers.node_row(item) for item in answer["items"]]

    def workspaces(self) -> Any:
        return self._safe.workspaces()

    def stop(self, id: str) -> Any:
        return self._safe.stop(id)

    def delete(self, id: str) -> Any:
        return self._safe.delete(id)

    def logs(self, id: str, pod: str, *, lines: int) -> Sequence[str]:
        return self._safe.logs(id, pod, lines=lines)

    def follow(self, id: str, pod: str | None, *, lines: int, show: Callable[[str, str], None]) -> None:
        follow(self._safe, id, pod, lines=lines, show=show)

    def _is_here(self, item: dict[str, Any]) -> bool:
        return self._workspace in (None, answers.workload_row(item).workspace)


def _moment(time: datetime | None) -> str | None:
    """As the server reads it."""
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.000Z")

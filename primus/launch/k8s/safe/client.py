"""What Primus asks of a Primus-SaFE server, one method for each wish; `primus k8s --url` calls them. Answers are the
server's own objects, which answers.py reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from primus.errors import ServiceError, UsageError
from primus.launch.k8s.http import Http, PassingError, RefusedError
from primus.launch.k8s.rows import require_nodes
from primus.launch.k8s.safe.answers import node_row, text
from primus.launch.k8s.safe.body import create_body
from primus.launch.k8s.workload import Workload, require_name

PAGE = 100
"""Items that are asked for at once, the server's own default."""

_AT_ONCE = 8
"""Pages that are on their way at a time."""

_CREATE_TRIES = 4

_LOOKS = (0.5, 1.0, 2.0)
"""Seconds before each look for a workload whose answer was lost: lists follow what happens with some delay."""

_LIST = ("totalCount", "items")


class Safe:
    """One server."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, workload: Workload, workspace: str) -> dict[str, Any]:
        """Create the workload, once: when an answer is lost, look whether it is there before asking again."""
        old = self._check_place(workload)
        body = create_body(workload, workspace, timeout_in_hours=old)
        pause = 0.5
        for remaining in reversed(range(_CREATE_TRIES)):
            try:
                answer = self._http.once("POST", "/workloads", body=body)
                return self._http.require("POST", "/workloads", answer, ("workloadId",))
            except PassingError as error:
                there = self._created(error, workload, workspace) if error.arrived else None
                if there is not None:
                    return {"workloadId": there}
                if not remaining:
                    raise ServiceError(f"{error} (tried {_CREATE_TRIES} times; no such workload is there)") from error
                self._http.pause(error, pause)
                pause *= 2
        raise AssertionError("unreachable")

    def get(self, id: str) -> dict[str, Any]:
        return self._http.get(_path("workloads", id), having=("workloadId",))

    def workloads(self, filters: Mapping[str, str | None]) -> list[dict[str, Any]]:
        """All workloads that the filters let through, in the server's order."""
        return list(self._pages("/workloads", filters, key="workloadId"))

    def nodes(self, filters: Mapping[str, str | None]) -> dict[str, Any]:
        items = _items(self._http.get("/nodes", {**filters, "limit": -1}, having=_LIST))
        return {"totalCount": len(items), "items": items}

    def workspaces(self) -> dict[str, Any]:
        answer = self._http.get("/workspaces", having=_LIST)
        return {**answer, "items": _items(answer)}

    def stop(self, id: str) -> Any:
        return self._http.again("POST", _path("workloads", id, "stop")) or {}

    def delete(self, id: str) -> Any:
        """Delete a workload that is there: of one that is not, the server would say the same."""
        self.get(id)
        return self._http.again("DELETE", _path("workloads", id)) or {}

    def logs(self, id: str, pod: str, *, lines: int) -> list[str]:
        """The last lines of a pod."""
        path = _path("workloads", id, "pods", pod, "logs")
        answer = self._http.get(path, {"tailLines": lines}, having=("logs",))
        return [str(line) for line in answer["logs"] or ()]

    def _pages(self, path: str, filters: Mapping[str, str | None], *, key: str) -> Iterator[dict[str, Any]]:
        """Each item once, in the server's order, though the list may move while its pages are read."""

        def page(offset: int) -> dict[str, Any]:
            return self._http.get(path, {**filters, "limit": PAGE, "offset": offset}, having=_LIST)

        first = page(0)
        offsets = range(PAGE, int(first.get("totalCount") or 0), PAGE)
        seen: set[str] = set()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for each in (first, *pool.map(page, offsets)):
                for item in _items(each):
                    if text(item, key) not in seen:
                        seen.add(text(item, key))
                        yield item

    def _created(self, error: PassingError, workload: Workload, workspace: str) -> str | None:
        """Id of the workload that a request with this marker made."""
        for seconds in _LOOKS:
            self._http.pause(error, seconds)
            for each in self.workloads({"workspaceId": workspace, "description": workload.marker}):
                if workload.marker in text(each, "description"):
                    return text(each, "workloadId")
        return None

    def _check_place(self, workload: Workload) -> bool:
        """Whether the server counts as that of June 2025. The nodes asked for must exist."""
        if not workload.nodes and workload.timeout is None:
            return False
        try:
            items = self.nodes({})["items"]
        except RefusedError:  # a server that asks who may see its nodes is a later one, and judges them itself
            return False
        require_nodes(workload.nodes, [node_row(item) for item in items])
        old = self._is_old(items)
        if old and len(workload.nodes) > 1:
            raise UsageError("--nodelist: this server is of June 2025, which can pin a workload to one node only")
        return old

    def _is_old(self, nodes: list[dict[str, Any]]) -> bool:
        """June 2025 has other names for some fields; where there are no nodes to see, a workload may tell."""
        if nodes:
            return not any("nodeId" in item for item in nodes)
        found = _items(self._http.get("/workloads", {"limit": 1}, having=_LIST))
        return bool(found) and "workspaceId" not in found[0]


def _items(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a list; June 2025 leaves the field out when there are none."""
    items = answer.get("items") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ServiceError("the server's list is none of objects, so this is no Primus-SaFE server")
    return items


def _path(*parts: str) -> str:
    """A path of the API. A name that could lead elsewhere (`..`, `a/b`) is refused, not sent."""
    return "/" + "/".join(quote(require_name(part, "the name"), safe="") for part in parts)

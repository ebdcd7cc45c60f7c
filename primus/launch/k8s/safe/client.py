"""What Primus asks of a Primus-SaFE server, one method for each wish; `primus k8s --url` calls them. Answers are the
server's own objects, which answers.py reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from primus.errors import ServiceError, UsageError, did_you_mean
from primus.launch.k8s.http import Http, NotFoundError, PassingError
from primus.launch.k8s.safe.answers import exit_status, node_row, pods_of, text
from primus.launch.k8s.safe.body import create_body
from primus.launch.k8s.workload import Workload, require_name

PAGE = 100
"""Items that are asked for at once, the server's own default."""

_AT_ONCE = 8
"""Pages that are on their way at a time."""

_CREATE_TRIES = 4


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
                return dict(self._http.once("POST", "/workloads", body=body))
            except PassingError as error:
                self._http.pause(error, pause)  # also a server that is slow gets the time to finish
                pause *= 2
                there = self._created(workload, workspace) if error.arrived else None
                if there is not None:
                    return {"workloadId": there}
                if not remaining:
                    raise ServiceError(f"{error} (tried {_CREATE_TRIES} times; no such workload is there)") from error
        raise AssertionError("unreachable")

    def get(self, id: str) -> dict[str, Any]:
        return self._http.get(_path("workloads", id))

    def workloads(self, filters: Mapping[str, str | None]) -> dict[str, Any]:
        """All workloads that the filters let through, as the server shows a page: `totalCount` and `items`."""
        items = list(self._pages("/workloads", filters, key="workloadId"))
        return {"totalCount": len(items), "items": items}

    def nodes(self, filters: Mapping[str, str | None]) -> dict[str, Any]:
        answer = self._http.get("/nodes", {**filters, "limit": -1})
        items = answer.get("items") or []
        return {"totalCount": len(items), "items": items}

    def workspaces(self) -> dict[str, Any]:
        return self._http.get("/workspaces")

    def stop(self, id: str) -> Any:
        return self._http.again("POST", _path("workloads", id, "stop")) or {}

    def delete(self, id: str) -> Any:
        """Delete a workload that is there: of one that is not, the server would say the same."""
        self.get(id)
        return self._http.again("DELETE", _path("workloads", id)) or {}

    def logs(self, id: str, pod: str, *, lines: int) -> list[str]:
        """The last lines of a pod."""
        answer = self._http.get(_path("workloads", id, "pods", pod, "logs"), {"tailLines": lines})
        return [str(line) for line in answer.get("logs") or ()]

    def _pages(self, path: str, filters: Mapping[str, str | None], *, key: str) -> Iterator[dict[str, Any]]:
        """Each item once, in the server's order, though the list may move while its pages are read."""
        first = self._http.get(path, {**filters, "limit": PAGE, "offset": 0})
        offsets = range(PAGE, int(first.get("totalCount") or 0), PAGE)
        seen: set[str] = set()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            rest = pool.map(lambda offset: self._http.get(path, {**filters, "limit": PAGE, "offset": offset}), offsets)
            for page in (first, *rest):
                for item in page.get("items") or ():
                    if text(item, key) not in seen:
                        seen.add(text(item, key))
                        yield item

    def _created(self, workload: Workload, workspace: str) -> str | None:
        """Id of the workload that a request with this marker made."""
        found = self.workloads({"workspaceId": workspace, "description": workload.marker, "userName": workload.user})
        ids = [text(each, "workloadId") for each in found["items"] if workload.marker in text(each, "description")]
        return ids[0] if ids else None

    def _check_place(self, workload: Workload) -> bool:
        """Whether the server counts as that of June 2025. The nodes asked for must exist."""
        if not workload.nodes and workload.timeout is None:
            return False
        items = self.nodes({})["items"]
        old = bool(items) and not any("nodeId" in item for item in items)
        rows = [node_row(item) for item in items]
        names = {name for row in rows for name in (row.name, row.id)}
        unknown = [node for node in workload.nodes if node not in names]
        if unknown:
            raise ServiceError(
                "\n".join(f"--nodelist: there is no node {node}.{did_you_mean(node, names)}" for node in unknown)
            )
        if old and len(workload.nodes) > 1:
            raise UsageError("--nodelist: this server is of June 2025, which can pin a workload to one node only")
        return old


def follow(
    safe: Safe, id: str, pod: str | None, *, lines: int, show: Callable[[str, str], None], interval: float = 2.0
) -> None:
    """Show new lines of one pod or all until the workload has ended. The API has no stream: the tail is read again and
    again."""
    last: dict[str, list[str]] = {}
    over = False
    while not over:
        workload = safe.get(id)
        over = exit_status(workload) is not None  # then one last reading, so that nothing is missed
        for name in [each.name for each in pods_of(workload) if pod in (None, each.name)]:
            try:
                tail = safe.logs(id, name, lines=lines)
            except NotFoundError:  # it has not started yet, or is gone
                continue
            for line in new_lines(last.get(name, []), tail):
                show(name, line)
            last[name] = tail
        if not over:
            time.sleep(interval)


def new_lines(before: list[str], now: list[str]) -> list[str]:
    """What a tail shows that the one before did not: both overlap, unless more lines came than a tail holds."""
    for start in range(max(0, len(before) - len(now)), len(before)):
        if before[start:] == now[: len(before) - start]:
            return now[len(before) - start :]
    return now


def _path(*parts: str) -> str:
    """A path of the API. A name that could lead elsewhere (`..`, `a/b`) is refused, not sent."""
    return "/" + "/".join(quote(require_name(part, "the name"), safe="") for part in parts)

"""A Kubernetes cluster itself as a target of `primus k8s`."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from primus.errors import ServiceError, UsageError
from primus.launch.k8s.http import Http, NotFoundError, RefusedError
from primus.launch.k8s.listing import Filters, select
from primus.launch.k8s.native import words
from primus.launch.k8s.native.cluster import ClusterApi
from primus.launch.k8s.native.config import Cluster
from primus.launch.k8s.native.manifests import manifests
from primus.launch.k8s.native.options import ClusterOptions
from primus.launch.k8s.rows import NodeRow, Pod, WorkloadRow, require_nodes
from primus.launch.k8s.workload import Workload

_INTERVAL = 2.0
"""Seconds between two looks for new pods, while their logs are followed."""


class ClusterTarget:
    """One namespace of one cluster. `options` say how pods are made."""

    def __init__(self, cluster: Cluster, options: ClusterOptions, close: Callable[[], None]) -> None:
        self._http, self._close = Http(cluster.endpoint), close
        self._api = ClusterApi(self._http, cluster.namespace)
        self._options = options

    def __enter__(self) -> ClusterTarget:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.__exit__(*error)
        self._close()

    def preview_on_server(self, workload: Workload) -> Any:
        """What the server would make of it: it checks everything and keeps nothing."""
        main, owned = manifests(workload, self._resolved(workload))
        return self._api.create(main, owned, dry_run=True)

    def create(self, workload: Workload) -> Any:
        main, owned = manifests(workload, self._resolved(workload))
        return self._api.create(main, owned)

    def created_id(self, answer: Any) -> str:
        return str(answer["metadata"]["name"])

    def get(self, id: str) -> Any:
        return {"workload": self._api.find(id), "pods": self._api.pods(id), "events": self._api.events()}

    def pods(self, answer: Any) -> Sequence[Pod]:
        return [words.pod_of(pod, answer["events"]) for pod in answer["pods"]]

    def row(self, answer: Any) -> WorkloadRow:
        row = words.workload_row(answer["workload"])
        reasons = [pod.message for pod in self.pods(answer) if pod.message]
        return row if row.message or not reasons else replace(row, message=reasons[0])

    def exit_status(self, answer: Any) -> int | None:
        return words.exit_status(answer["workload"], answer["pods"])

    def workloads(self, filters: Filters) -> Any:
        return {"items": select(self._api.runs(), words.workload_row, filters)}

    def rows(self, answer: Any) -> Sequence[WorkloadRow]:
        return [words.workload_row(run) for run in answer["items"]]

    def nodes(self) -> Any:
        nodes = self._api.nodes()
        try:
            pods: Any = self._api.all_pods()
        except RefusedError:  # many users may not see the pods of others: then what is free stays unknown
            pods = None
        return {"items": nodes, "pods": pods}

    def node_rows(self, answer: Any) -> Sequence[NodeRow]:
        return words.node_rows(answer["items"], answer["pods"])

    def stop(self, id: str) -> Any:
        run = self._api.find(id)
        if words.is_queued(run):
            raise UsageError(f"{id} waits in a queue of Kueue, which would start it again; use `primus k8s delete`")
        return self._api.suspend(run)

    def delete(self, id: str) -> Any:
        return self._api.delete(self._api.find(id))

    def logs(self, id: str, pod: str, *, lines: int) -> Sequence[str]:
        return self._api.logs(pod, lines=lines)

    def follow(self, id: str, pod: str | None, *, lines: int, show: Callable[[str, str], None]) -> None:
        """Also of pods that are started later, in the place of failed ones."""
        shown: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        threads: dict[str, threading.Thread] = {}
        while True:
            answer = self.get(id)
            over = self.exit_status(answer) is not None
            for each in self.pods(answer):
                if each.phase != "Pending" and each.name not in threads and pod in (None, each.name):
                    reader = _Reader(self._api, each.name, lines, shown, ended=self._ended)
                    threads[each.name] = threading.Thread(target=reader.run, daemon=True)
                    threads[each.name].start()
            if over:
                for thread in threads.values():
                    thread.join(timeout=10 * _INTERVAL)
            _drain(shown, show)
            if over:
                return
            _show_for(_INTERVAL, shown, show)

    def _ended(self, pod: str) -> bool:
        try:
            return words.pod_of(self._api.pod(pod)).phase in ("Succeeded", "Failed")
        except NotFoundError:
            return True

    def _resolved(self, workload: Workload) -> ClusterOptions:
        """With the name under which this cluster's nodes offer GPUs. The nodes asked for must exist."""
        unknown = bool(workload.gpu) and self._options.gpu_resource is None
        if not unknown and not workload.nodes:
            return self._options
        try:
            nodes = self._api.nodes()
        except RefusedError:  # nodes are not for everybody to see
            return self._options
        require_nodes(workload.nodes, words.node_rows(nodes, None))
        if not unknown:
            return self._options
        found = words.gpu_resource(nodes)
        if found is None:
            raise ServiceError(f"no node of this cluster offers {' or '.join(words.GPU_RESOURCES)}; see --gpu-resource")
        return replace(self._options, gpu_resource=found)


class _Reader:
    """Follows one pod's log, also when the connection breaks."""

    def __init__(
        self,
        api: ClusterApi,
        pod: str,
        lines: int,
        shown: queue.SimpleQueue[tuple[str, str]],
        *,
        ended: Callable[[str], bool],
    ) -> None:
        self._api, self._pod, self._lines, self._shown, self._ended = api, pod, lines, shown, ended

    def run(self) -> None:
        last = ""
        while True:
            over = self._ended(self._pod)
            try:
                for moment, text in self._api.stream(
                    self._pod, lines=None if last else self._lines, since=last or None
                ):
                    if moment > last:  # sinceTime counts in whole seconds: some lines come twice
                        last = moment
                        self._shown.put((self._pod, text))
            except ServiceError as error:
                if over:
                    self._shown.put((self._pod, f"[its log can't be read: {error}]"))
            if over:
                return
            time.sleep(_INTERVAL)


def _drain(shown: queue.SimpleQueue[tuple[str, str]], show: Callable[[str, str], None]) -> None:
    while not shown.empty():
        show(*shown.get())


def _show_for(seconds: float, shown: queue.SimpleQueue[tuple[str, str]], show: Callable[[str, str], None]) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            show(*shown.get(timeout=left))
        except queue.Empty:
            return

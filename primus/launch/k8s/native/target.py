"""A Kubernetes cluster itself as a target of `primus k8s`."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from primus.errors import ServiceError, UsageError
from primus.launch.k8s.http import Http, NotFoundError
from primus.launch.k8s.native import words
from primus.launch.k8s.native.cluster import ClusterApi
from primus.launch.k8s.native.config import Cluster
from primus.launch.k8s.native.manifests import QUEUE, Manifest, main_manifest, owned_manifests
from primus.launch.k8s.native.options import AMD_GPU, ClusterOptions
from primus.launch.k8s.native.pod import TOKEN_KEY
from primus.launch.k8s.rows import NodeRow, Pod, WorkloadRow
from primus.launch.k8s.target import Filters
from primus.launch.k8s.workload import Workload

_INTERVAL = 2.0
"""Seconds between two looks for new pods, while their logs are followed."""


class ClusterTarget:
    """One namespace of one cluster. `options` say how pods are made."""

    def __init__(self, cluster: Cluster, options: ClusterOptions) -> None:
        self._http = Http(cluster.endpoint)
        self._api = ClusterApi(self._http, cluster.namespace)
        self._options = options

    def __enter__(self) -> ClusterTarget:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.__exit__(*error)

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
        found = [(words.workload_row(run), run) for run in self._api.runs()]
        found = [(row, run) for row, run in found if _passes(row, filters)]
        field = filters.sort_by or "created"
        if field not in WorkloadRow.__slots__:
            raise UsageError(f"--sort-by {field}: expected one of {', '.join(WorkloadRow.__slots__)}")
        found.sort(key=lambda pair: getattr(pair[0], field), reverse=filters.order == "desc")
        return {"items": [run for _, run in found]}

    def rows(self, answer: Any) -> Sequence[WorkloadRow]:
        return [words.workload_row(run) for run in answer["items"]]

    def nodes(self) -> Any:
        nodes = self._api.nodes()
        try:
            pods: Any = self._api.all_pods()
        except ServiceError:  # many users may not see the pods of others: then what is free stays unknown
            pods = None
        return {"items": nodes, "pods": pods}

    def node_rows(self, answer: Any) -> Sequence[NodeRow]:
        return words.node_rows(answer["items"], answer["pods"])

    def stop(self, id: str) -> Any:
        run = self._api.find(id)
        if run["metadata"].get("labels", {}).get(QUEUE):
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
        """With the name under which this cluster's nodes offer GPUs."""
        if self._options.gpu_resource or not workload.gpu:
            return self._options
        try:
            found = words.gpu_resource(self._api.nodes())
        except ServiceError:  # nodes are not for everybody to see
            found = AMD_GPU
        if found is None:
            raise ServiceError(f"no node of this cluster offers {' or '.join(words.GPU_RESOURCES)}; see --gpu-resource")
        return replace(self._options, gpu_resource=found)


def manifests(workload: Workload, options: ClusterOptions) -> tuple[Manifest, list[Manifest]]:
    """The object that runs it, and those that go with it. The token is in a secret of its own, nowhere else. Pure."""
    variables = dict(workload.environment)
    token = variables.pop(TOKEN_KEY, None)
    plain = replace(workload, environment=variables)
    id = f"{workload.name}-{workload.suffix}"
    main = main_manifest(plain, options, id=id, token=token is not None)
    return main, owned_manifests(plain, id=id, token=token)


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


def _passes(row: WorkloadRow, filters: Filters) -> bool:
    return (
        filters.user in (None, row.user)
        and (filters.phase is None or row.phase in filters.phase.split(","))
        and (filters.since is None or row.created >= filters.since)
        and (filters.until is None or row.created <= filters.until)
    )

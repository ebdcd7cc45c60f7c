"""What Primus asks of a Kubernetes API server: the objects of runs, their pods, logs and events, and the nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from primus.errors import ServiceError
from primus.launch.k8s.http import Http, NotFoundError, PassingError
from primus.launch.k8s.native.manifests import MARKER, RESOURCES, Manifest, Resource, owned_by
from primus.launch.k8s.native.pod import CONTAINER, MANAGED, RUN_LABEL

_STRICT = {"fieldValidation": "Strict"}
"""A field that the server does not know is an error; otherwise it would be dropped without a word."""

_PAGE = 500

_OBJECT = ("metadata",)
"""What every object has."""

_CREATE_TRIES = 4

_OWNED = {
    "ConfigMap": Resource(version="v1", kind="ConfigMap", plural="configmaps"),
    "Service": Resource(version="v1", kind="Service", plural="services"),
    "Secret": Resource(version="v1", kind="Secret", plural="secrets"),
}

_SELECTOR = ",".join(f"{name}={value}" for name, value in MANAGED.items())


class ClusterApi:
    """One namespace of one cluster."""

    def __init__(self, http: Http, namespace: str) -> None:
        self._http, self.namespace = http, namespace

    def create(self, main: Manifest, owned: list[Manifest], *, dry_run: bool = False) -> Manifest:
        """Create an object and what belongs to it: all, or nothing."""
        made = self._create(_resource_of(main), main, dry_run=dry_run)
        try:
            for manifest in owned:
                self._create(_OWNED[manifest["kind"]], owned_by(manifest, made), dry_run=dry_run)
        except ServiceError as error:
            if not dry_run:
                self._undo(made, error)
            raise
        return made

    def find(self, id: str) -> Manifest:
        """The run's object, of whichever kind; NotFoundError when there is none."""
        for resource in RESOURCES.values():
            try:
                found = self._http.get(self._path(resource, id), having=_OBJECT)
            except NotFoundError:  # of this kind, or the cluster does not know the kind
                continue
            if MANAGED.items() <= (found["metadata"].get("labels") or {}).items():
                return found
            raise ServiceError(f"{resource.kind} {id} in namespace {self.namespace} was not made by Primus")
        raise NotFoundError(f"there is no run {id} in namespace {self.namespace}; `primus k8s list` shows those there")

    def runs(self) -> list[Manifest]:
        found: list[Manifest] = []
        for resource in RESOURCES.values():
            try:
                found += self._items(self._path(resource), {"labelSelector": _SELECTOR}, resource)
            except NotFoundError:  # the cluster does not know this kind
                continue
        return found

    def delete(self, run: Manifest) -> Any:
        """Delete the run's object; its pods and all that it owns go with it."""
        path = self._path(_resource_of(run), run["metadata"]["name"])
        return self._http.again("DELETE", path, body={"propagationPolicy": "Background"})

    def suspend(self, run: Manifest) -> Any:
        """End the run's pods and keep its object."""
        resource = _resource_of(run)
        path = self._path(resource, run["metadata"]["name"])
        spec = {"runPolicy": {"suspend": True}} if resource.kind == "PyTorchJob" else {"suspend": True}
        return self._http.again("PATCH", path, params=_STRICT, body={"spec": spec})

    def pods(self, id: str) -> list[Manifest]:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return list(self._items(path, {"labelSelector": f"{RUN_LABEL}={id}"}))

    def pod(self, name: str) -> Manifest:
        return self._http.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}", having=_OBJECT)

    def events(self) -> list[Manifest]:
        """Of the namespace's pods, the oldest first."""
        path = f"/api/v1/namespaces/{self.namespace}/events"
        found = self._items(path, {"fieldSelector": "involvedObject.kind=Pod"})
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def nodes(self) -> list[Manifest]:
        return list(self._items("/api/v1/nodes", {}))

    def all_pods(self) -> list[Manifest]:
        """Of every namespace, those that hold resources."""
        return list(self._items("/api/v1/pods", {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}))

    def logs(self, pod: str, *, lines: int) -> list[str]:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        return list(self._http.lines(path, {"container": CONTAINER, "tailLines": lines}))

    def stream(self, pod: str, *, lines: int | None, since: str | None) -> Iterator[tuple[str, str]]:
        """Time and text of each line, old and new, until the container ends or the connection does."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        asked = {"container": CONTAINER, "follow": "true", "timestamps": "true", "tailLines": lines, "sinceTime": since}
        for line in self._http.lines(path, asked):
            time, _, text = line.partition(" ")
            yield time, text

    def _undo(self, made: Manifest, reason: ServiceError) -> None:
        try:
            self.delete(made)
        except ServiceError as error:
            name = made["metadata"]["name"]
            raise ServiceError(f"{reason}\n{made['kind']} {name} is there and could not be deleted: {error}") from error

    def _create(self, resource: Resource, manifest: Manifest, *, dry_run: bool) -> Manifest:
        """Once: an object of this name with our marker is the one that a lost answer was about."""
        params = {**_STRICT, "dryRun": "All" if dry_run else None}
        name, pause = manifest["metadata"]["name"], 0.5
        for remaining in reversed(range(_CREATE_TRIES)):
            try:
                made = self._http.once("POST", self._path(resource), params=params, body=manifest)
                return self._http.require("POST", self._path(resource), made, _OBJECT)
            except PassingError as error:
                if not remaining:
                    raise ServiceError(f"{error} (tried {_CREATE_TRIES} times)") from error
                self._http.pause(error, pause)
                pause *= 2
                there = self._there(resource, name) if error.arrived and not dry_run else None
                if there is not None and _is_same(there, manifest):
                    return there
        raise AssertionError("unreachable")

    def _there(self, resource: Resource, name: str) -> Manifest | None:
        try:
            return self._http.get(self._path(resource, name), having=_OBJECT)
        except NotFoundError:
            return None

    def _items(self, path: str, params: Mapping[str, str], resource: Resource | None = None) -> Iterator[Manifest]:
        """Objects of a list, page by page. A list leaves out version and kind of its items."""
        more: str | None = None
        while True:
            page = self._http.get(path, {**params, "limit": _PAGE, "continue": more}, having=("items",))
            for item in page.get("items") or ():
                yield item if resource is None else {"apiVersion": resource.version, "kind": resource.kind, **item}
            more = page.get("metadata", {}).get("continue") or None
            if more is None:
                return

    def _path(self, resource: Resource, name: str | None = None) -> str:
        path = f"{resource.root}/namespaces/{self.namespace}/{resource.plural}"
        return path if name is None else f"{path}/{name}"


def _resource_of(manifest: Manifest) -> Resource:
    return next(each for each in RESOURCES.values() if each.kind == manifest["kind"])


def _is_same(there: Manifest, wanted: Manifest) -> bool:
    """Whether an object is what this very request made."""
    about, wish = there["metadata"], wanted["metadata"]
    if MARKER in wish.get("annotations", {}):
        return bool(about.get("annotations", {}).get(MARKER) == wish["annotations"][MARKER])
    return [each["uid"] for each in about.get("ownerReferences") or ()] == [
        each["uid"] for each in wish["ownerReferences"]
    ]

"""A Kubernetes API server, as far as `primus k8s --context` speaks to one, over real HTTP: strict validation by the
official schemas, lists in pages, server-side dry runs, owners whose end is that of what they own, faults; and a small
controller and kubelet that run the pods of Jobs, JobSets and PyTorchJobs as processes of this machine."""

from __future__ import annotations

import base64
import copy
import json
import random
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import kubernetes_validate
import yaml
from safe_server import Fault, image_environment, is_free

CLUSTER_SCOPED = ("nodes",)
PLURALS = {
    "Job": ("batch/v1", "jobs"),
    "JobSet": ("jobset.x-k8s.io/v1alpha2", "jobsets"),
    "PyTorchJob": ("kubeflow.org/v1", "pytorchjobs"),
    "ConfigMap": ("v1", "configmaps"),
    "Service": ("v1", "services"),
    "Secret": ("v1", "secrets"),
    "Pod": ("v1", "pods"),
    "Node": ("v1", "nodes"),
    "Event": ("v1", "events"),
}
CUSTOM = ("JobSet", "PyTorchJob")

# Fields and their types as the projects publish them; a nested dictionary is an object, a string a core type.
JOBSET_SPEC = {
    "replicatedJobs": [
        {"name": str, "replicas": int, "template": "JobTemplate", "groupName": str, "dependsOn": [dict]}
    ],
    "network": {"enableDNSHostnames": bool, "subdomain": str, "publishNotReadyAddresses": bool},
    "successPolicy": dict,
    "failurePolicy": {"maxRestarts": int, "rules": [dict], "restartStrategy": str},
    "startupPolicy": dict,
    "suspend": bool,
    "coordinator": dict,
    "managedBy": str,
    "ttlSecondsAfterFinished": int,
}
REPLICA_SPEC = {"replicas": int, "restartPolicy": str, "template": "PodTemplate"}
PYTORCHJOB_SPEC = {
    "runPolicy": {
        "cleanPodPolicy": str, "ttlSecondsAfterFinished": int, "activeDeadlineSeconds": int, "backoffLimit": int,
        "schedulingPolicy": dict, "suspend": bool, "managedBy": str,
    },
    "elasticPolicy": dict,
    "pytorchReplicaSpecs": {"Master": REPLICA_SPEC, "Worker": REPLICA_SPEC},
    "nprocPerNode": str,
}  # fmt: skip


class KubeServer:
    """The state of a cluster."""

    def __init__(self, *, execute: Path | None = None, kinds: tuple[str, ...] = CUSTOM) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        """By kind, namespace and name."""

        self.kinds = tuple(kind for kind in PLURALS if kind not in CUSTOM or kind in kinds)
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.faults: list[Fault] = []
        self.forbidden: list[str] = []
        """Paths that the account may not read."""

        self.token = "right"
        self.url = ""
        self.lock = threading.RLock()
        self._execute = execute
        self._times: dict[str, list[str]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._port = next(port for port in random.sample(range(20_000, 32_000), 100) if is_free(port))
        self._count = 0
        for number in range(2):
            self.add_node(f"node-{number}")

    def add_node(self, name: str, resource: str = "amd.com/gpu", gpus: int = 8, **spec: Any) -> None:
        conditions = [{"type": "Ready", "status": "True"}]
        addresses = [{"type": "InternalIP", "address": "10.0.0.1"}]
        status = {"allocatable": {"cpu": "192", resource: str(gpus)}, "conditions": conditions, "addresses": addresses}
        self.objects["Node", "", name] = {"metadata": {"name": name}, "spec": spec, "status": status}

    def add_pod(self, name: str, *, namespace: str = "default", **fields: Any) -> dict[str, Any]:
        pod = {
            "metadata": {"name": name, "namespace": namespace, "labels": {}},
            "spec": {"containers": []},
            "status": {},
        }
        for part, values in fields.items():
            pod[part].update(values)
        self.objects["Pod", namespace, name] = pod
        return pod

    def write_kubeconfig(self, path: Path, *, namespace: str = "default") -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def create(self, kind: str, namespace: str, body: dict[str, Any], query: dict[str, str]) -> tuple[int, Any]:
        if query.get("fieldValidation") == "Strict" and (wrong := violation(kind, body)):
            return failure(400, "BadRequest", f"strict decoding error: {wrong}")
        name = body["metadata"]["name"]
        if wrong := _invalid(body["metadata"]):
            return failure(422, "Invalid", f'{kind} "{name}" is invalid: {wrong}')
        if (kind, namespace, name) in self.objects:
            return failure(409, "AlreadyExists", f'{kind.lower()} "{name}" already exists')
        made = copy.deepcopy(body)
        self._count += 1
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        made["metadata"] |= {"namespace": namespace, "uid": f"uid-{self._count}", "creationTimestamp": now}
        made |= {"data": _encoded(made.pop("stringData"))} if "stringData" in made else {}
        if query.get("dryRun") != "All":
            made.setdefault("status", {})
            self.objects[kind, namespace, name] = made
            self._make_services(kind, namespace, made)
        return 201, made

    def _make_services(self, kind: str, namespace: str, owner: dict[str, Any]) -> None:
        """The controllers of custom kinds give their pods names themselves."""
        if kind in CUSTOM:
            name = owner["metadata"]["name"] + ("-master-0" if kind == "PyTorchJob" else "")
            about = {"name": name, "namespace": namespace, "ownerReferences": [{"uid": owner["metadata"]["uid"]}]}
            self.objects["Service", namespace, name] = {"metadata": about, "spec": {"clusterIP": "None"}}

    def delete(self, kind: str, namespace: str, name: str, *, cascade: bool = True) -> None:
        gone = self.objects.pop((kind, namespace, name))
        if not cascade:
            return
        if kind == "Pod" and name in self._processes:
            self._end(name)
        uid = gone["metadata"].get("uid")
        for owned_kind, space, owned in list(self.objects):
            about = self.objects.get((owned_kind, space, owned), {}).get("metadata", {})
            if uid and uid in [each["uid"] for each in about.get("ownerReferences", ())]:
                self.delete(owned_kind, space, owned)

    def reconcile(self) -> None:
        """What controllers and kubelets do: start pods, see them end, tell how their owner stands."""
        if self._execute is None:
            return
        for (kind, namespace, name), owner in list(self.objects.items()):
            if kind in ("Job", *CUSTOM):
                self._run(kind, namespace, name, owner)

    def _run(self, kind: str, namespace: str, name: str, owner: dict[str, Any]) -> None:
        spec = owner["spec"]
        if spec.get("suspend") or spec.get("runPolicy", {}).get("suspend"):
            for pod in self._pods_of(owner):
                self.delete("Pod", namespace, pod["metadata"]["name"])
            return
        if not all((needed, namespace, name) in self.objects for needed in _needed(owner)):
            return  # the kubelet waits for them
        pods = self._pods_of(owner) or self._start(kind, namespace, name, owner)
        for pod in pods:
            self._see(pod)
        phases = [pod["status"]["phase"] for pod in pods]
        if "Running" in phases:
            owner["status"] = {"active": len(pods)} if kind == "Job" else _active(kind, len(pods))
        elif "Failed" in phases:
            owner["status"] = {"conditions": [{"type": "Failed", "status": "True", "message": "a pod failed"}]}
        else:
            done = {"Job": "Complete", "JobSet": "Completed", "PyTorchJob": "Succeeded"}[kind]
            owner["status"] = {"conditions": [{"type": done, "status": "True"}]}

    def _pods_of(self, owner: dict[str, Any]) -> list[dict[str, Any]]:
        uid = owner["metadata"]["uid"]
        pods = [found for (kind, _, _), found in self.objects.items() if kind == "Pod"]
        return [pod for pod in pods if [each["uid"] for each in pod["metadata"].get("ownerReferences", ())] == [uid]]

    def _start(self, kind: str, namespace: str, name: str, owner: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            self._start_pod(namespace, pod_name, template, owner, extra)
            for pod_name, template, extra in _wanted(kind, name, owner["spec"], self._port)
        ]

    def _start_pod(
        self, namespace: str, name: str, template: Any, owner: dict[str, Any], extra: dict[str, str]
    ) -> dict[str, Any]:
        assert self._execute is not None
        container = template["spec"]["containers"][0]
        folder = self._execute / name
        folder.mkdir(parents=True, exist_ok=True)
        run = owner["metadata"]["name"]
        script = folder / "run.sh"
        script.write_text(self.objects["ConfigMap", namespace, run]["data"]["run.sh"])
        variables = {each["name"]: self._value(namespace, each) for each in container["env"]} | extra
        if "MASTER_ADDR" in variables:  # what the cluster's name server would know
            variables |= {"MASTER_ADDR": "127.0.0.2", "MASTER_PORT": str(self._port)}
        command = [str(script) if part == "/etc/primus/run.sh" else part for part in container["command"]]
        with (folder / "log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command, env={**image_environment(), **variables}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        about = {"kind": owner["kind"], "name": run, "uid": owner["metadata"]["uid"], "apiVersion": owner["apiVersion"]}
        pod = {
            "metadata": {**template["metadata"], "name": name, "namespace": namespace, "ownerReferences": [about]},
            "spec": {**template["spec"], "nodeName": "node-0"},
            "status": {"phase": "Running"},
        }
        self.objects["Pod", namespace, name] = pod
        return pod

    def _value(self, namespace: str, variable: dict[str, Any]) -> str:
        if "value" in variable:
            return str(variable["value"])
        wanted = variable["valueFrom"]["secretKeyRef"]
        return base64.b64decode(self.objects["Secret", namespace, wanted["name"]]["data"][wanted["key"]]).decode()

    def _see(self, pod: dict[str, Any]) -> None:
        status = self._processes[pod["metadata"]["name"]].poll()
        if status is not None:
            status = status if status >= 0 else 128 - status
            ended = {"exitCode": status, "reason": "Error" if status else "Completed"}
            containers = [{"name": "pytorch", "state": {"terminated": ended}}]
            pod["status"] = {"phase": "Failed" if status else "Succeeded", "containerStatuses": containers}

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        if process.poll() is None:
            process.terminate()
        process.wait()

    def times_of(self, pod: str, count: int) -> list[str]:
        """When each of so many lines of a pod came, no two at once."""
        times = self._times.setdefault(pod, [])
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        times += [f"{now}.{number:09}Z" for number in range(len(times), count)]
        return times[:count]

    def log_path(self, pod: str) -> Path:
        return (self._execute or Path("/nowhere")) / pod / "log"

    def close(self) -> None:
        for name in list(self._processes):
            self._end(name)


_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"


def _invalid(about: dict[str, Any]) -> str | None:
    """What no schema says: the form of names and labels."""
    if not re.fullmatch(_NAME, about["name"]) or len(about["name"]) > 253:
        return f"metadata.name: Invalid value: {about['name']!r}"
    for key, value in (about.get("labels") or {}).items():
        if not re.fullmatch(rf"({_NAME}/)?{_LABEL}", key) or not re.fullmatch(_LABEL, value):
            return f"metadata.labels: Invalid value: {key}={value!r}"
    return None


def _encoded(data: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}


def violation(kind: str, body: dict[str, Any]) -> str | None:
    """What a server that validates strictly would say."""
    if kind in CUSTOM:
        wrong = list(_custom(body.get("spec"), JOBSET_SPEC if kind == "JobSet" else PYTORCHJOB_SPEC, "spec"))
        return wrong[0] if wrong else None
    return _core(body)


def _core(body: dict[str, Any]) -> str | None:
    try:
        kubernetes_validate.validate(body, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return None


def _custom(value: Any, shape: Any, where: str) -> Iterator[str]:
    if isinstance(shape, str):
        yield from _template(value, shape, where)
    elif isinstance(shape, type):
        if not isinstance(value, shape) or (shape is int and isinstance(value, bool)):
            yield f"{where}: expected {shape.__name__}, got {value!r}"
    elif isinstance(shape, list):
        for number, item in enumerate(value):
            yield from _custom(item, shape[0], f"{where}[{number}]")
    else:
        for name, item in value.items():
            if name not in shape:
                yield f'unknown field "{where}.{name}"'
            else:
                yield from _custom(item, shape[name], f"{where}.{name}")


def _template(value: Any, shape: str, where: str) -> Iterator[str]:
    """A part that is of a core type is checked as a whole object of that type."""
    if shape == "JobTemplate":
        whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, **value}
    else:
        spec = {"restartPolicy": "Never", **value["spec"]}
        job = {"template": {**value, "spec": spec}}
        whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": job}
    if wrong := _core(whole):
        yield f"{where}: {wrong}"


def _wanted(kind: str, name: str, spec: Any, port: int) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Name, template and added variables of each pod."""
    if kind == "PyTorchJob":
        specs = spec["pytorchReplicaSpecs"]
        workers = specs.get("Worker", {"replicas": 0})
        place = {
            "MASTER_ADDR": f"{name}-master-0",
            "MASTER_PORT": str(port),
            "PET_NNODES": str(1 + workers["replicas"]),
        }
        yield f"{name}-master-0", specs["Master"]["template"], {**place, "PET_NODE_RANK": "0", "RANK": "0"}
        for index in range(workers["replicas"]):
            rank = str(index + 1)
            yield f"{name}-worker-{index}", workers["template"], {**place, "PET_NODE_RANK": rank, "RANK": rank}
        return
    stem = name
    if kind == "JobSet":
        stem, spec = f"{name}-node-0", spec["replicatedJobs"][0]["template"]["spec"]
    for index in range(spec["completions"]):
        yield f"{stem}-{index}", spec["template"], {"JOB_COMPLETION_INDEX": str(index)}


def _needed(owner: dict[str, Any]) -> tuple[str, ...]:
    return ("ConfigMap", "Secret") if "secretKeyRef" in json.dumps(owner["spec"]) else ("ConfigMap",)


def _active(kind: str, count: int) -> dict[str, Any]:
    if kind == "JobSet":
        return {"replicatedJobsStatus": [{"name": "node", "active": 1, "ready": 1}]}
    return {"replicaStatuses": {"Master": {"active": count}}, "conditions": [{"type": "Running", "status": "True"}]}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def log_message(self, *arguments: Any) -> None:
        pass

    def _serve(self, method: str) -> None:
        state = self.server.state
        split = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[-1] for name, values in parse_qs(split.query).items()}
        body = json.loads(raw) if raw else None
        fault = next(
            (each for each in state.faults if each.times and re.fullmatch(each.path, f"{method} {split.path}")), None
        )
        if fault is not None:
            fault.times -= 1
            if not fault.after:
                return self._spoil(fault)
        with state.lock:
            state.requests.append((f"{method} {split.path}", query, body))
            state.reconcile()
        if split.path.endswith("/log"):
            return self._log(unquote(split.path.split("/")[-2]), query)
        with state.lock:
            status, answer = self._answer(method, split.path, query, body)
            state.reconcile()
        if fault is not None:
            return self._spoil(fault)
        return self._send(status, answer)

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        state = self.server.state
        if self.headers.get("Authorization") != f"Bearer {state.token}":
            return failure(401, "Unauthorized", "Unauthorized")
        if path in state.forbidden:
            return failure(403, "Forbidden", f"{path} is forbidden")
        match = re.fullmatch(r"/(?:api|apis)/(.+?)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?", path)
        kind = match and next((each for each in state.kinds if PLURALS[each] == (match[1], match[3])), None)
        if not match or not kind:
            return 404, "404 page not found"  # of a group that is not there; not even JSON
        namespace, name = match[2] or "", match[4]
        if method == "POST":
            return state.create(kind, namespace, body, query)
        if name is None:
            return 200, _page(state, kind, match[2], query)
        found = state.objects.get((kind, namespace, name))
        if found is None:
            return failure(404, "NotFound", f'{PLURALS[kind][1]} "{name}" not found')
        if method == "DELETE":
            # Without a policy the pods of a Job stay behind.
            state.delete(kind, namespace, name, cascade="propagationPolicy" in (body or {}))
            return 200, {"kind": "Status", "status": "Success"}
        if method == "PATCH":
            if self.headers.get("Content-Type") != "application/merge-patch+json":
                return failure(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
            wanted = copy.deepcopy({part: found[part] for part in ("apiVersion", "kind", "metadata", "spec")})
            _merge(wanted, body)
            if query.get("fieldValidation") == "Strict" and (wrong := violation(kind, wanted)):
                return failure(400, "BadRequest", f"strict decoding error: {wrong}")
            _merge(found, body)
        return 200, found

    def _log(self, pod: str, query: dict[str, str]) -> None:
        """The lines of a pod; with follow until it ends."""
        state = self.server.state
        path = state.log_path(pod)
        if not path.exists():
            if any(name == pod for kind, _, name in state.objects if kind == "Pod"):
                waiting = f'container "pytorch" in pod "{pod}" is waiting to start: ContainerCreating'
                return self._send(*failure(400, "BadRequest", waiting))
            return self._send(*failure(404, "NotFound", f'pods "{pod}" not found'))
        begin = 0
        if "tailLines" in query:
            begin = max(0, len(path.read_text(errors="replace").splitlines()) - int(query["tailLines"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        count = begin
        while True:
            with state.lock:
                state.reconcile()
                process = state._processes.get(pod)
                over = process is None or process.poll() is not None
                lines = path.read_text(errors="replace").splitlines(keepends=True)
                if lines and not lines[-1].endswith("\n") and not over:
                    lines.pop()
                times = state.times_of(pod, len(lines))
            for moment, line in list(zip(times, lines, strict=True))[count:]:
                count += 1
                if moment >= query.get("sinceTime", "")[:20]:  # in whole seconds
                    self.wfile.write((f"{moment} {line}" if query.get("timestamps") else line).encode())
            if over or query.get("follow") != "true":
                return None
            self.wfile.flush()
            time.sleep(0.02)

    def _spoil(self, fault: Fault) -> None:
        time.sleep(fault.delay)
        if fault.close:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
            return
        assert fault.status is not None
        self._send(fault.status, json.loads(fault.body or b"{}"), fault.headers)

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    state: KubeServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that went away


@contextmanager
def serving_cluster(state: KubeServer) -> Iterator[KubeServer]:
    """The API server at state.url while the context is open."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = state
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        state.close()


def failure(status: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message,
                    "code": status}  # fmt: skip


def _page(state: KubeServer, kind: str, namespace: str | None, query: dict[str, str]) -> dict[str, Any]:
    found = [
        item
        for (each, space, _), item in sorted(state.objects.items())
        if each == kind and namespace in (None, space) and _selected(item, query)
    ]
    begin, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(found)
    more = {"continue": str(begin + limit)} if begin + limit < len(found) else {}
    # As the real one does, without apiVersion and kind in the items.
    items = [{name: part for name, part in item.items() if name not in ("apiVersion", "kind")} for item in found]
    return {"kind": f"{kind}List", "apiVersion": PLURALS[kind][0], "metadata": more, "items": items[begin:][:limit]}


def _selected(item: dict[str, Any], query: dict[str, str]) -> bool:
    labels = item["metadata"].get("labels") or {}
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, _, value = term.partition("=")
        if labels.get(name) != value:
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        name, wanted, other = re.fullmatch(r"([^!=]+)(!?=)(.*)", term).groups()  # type: ignore[union-attr]
        value: Any = item
        for part in name.split("."):
            value = (value or {}).get(part)
        if (value == other) != (wanted == "="):
            return False
    return True


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if isinstance(value, dict):
            _merge(target.setdefault(name, {}), value)
        else:
            target[name] = value

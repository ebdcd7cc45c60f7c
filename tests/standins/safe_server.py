"""A Primus-SaFE server as its source describes it, over real HTTP: the generation of June 2025 or the newest one, with
accounts, quota, pages and faults, and pods that really run the entry point as processes of this machine."""

from __future__ import annotations

import base64
import binascii
import json
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, unquote_plus, urlsplit

PREFIX = "/api/v1"
OLD, NEW = "2025-06", "newest"
QUOTA = 1024
"""GPUs that a workspace may use."""


@dataclass
class Fault:
    """What goes wrong with the next requests that `path` fits."""

    path: str
    """Regular expression for `METHOD /path`."""

    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: bool = False
    """Carry the request out first: only the answer is lost or wrong."""

    close: bool = False
    """Cut the connection instead of answering."""

    delay: float = 0.0


class SafeServer:
    """The state of a server, and the address that it listens on."""

    def __init__(self, generation: str = NEW, *, execute: Path | None = None, workspaces: tuple[str, ...] = ()) -> None:
        self.generation = generation
        self.workspaces = ("primus-safe-pretrain", *workspaces)
        self.keys = {"ak-right"} if generation == NEW else set()
        self.accounts = {"ann": "secret"}
        self.workloads: dict[str, dict[str, Any]] = {}
        self.nodes = [_node(f"node-{number}", generation) for number in range(4)]
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, dict[str, list[str]], Any]] = []
        self.list_needs_workspace = False
        self.lag = 0
        """Lists that do not show yet what was created last."""

        self._execute = execute
        self._pods: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._lock = threading.RLock()
        self._count = 0
        self.url = ""

    def create(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        wanted = (
            ("displayName", "workspace", "entryPoint", "image", "resource")
            if self.generation == OLD
            else ("displayName", "groupVersionKind", "resources", "images", "entryPoints")
        )
        missing = [name for name in wanted if not body.get(name)]
        if missing:
            return refusal(400, "Primus.00002", f"{', '.join(missing)} must not be empty")
        workspace = body.get("workspaceId") or body["workspace"] if self.generation == NEW else body["workspace"]
        if workspace not in self.workspaces:
            return refusal(404, "Primus.02001", f"the workspace({workspace}) is not found")
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,43})", body["displayName"]):
            return refusal(400, "Primus.00002", "the displayName is invalid")
        resources = [body["resource"]] if self.generation == OLD else body["resources"]
        counts = {len(body[name]) for name in ("images", "entryPoints", "resources") if self.generation == NEW}
        if len(counts) > 1:
            return refusal(400, "Primus.00002", "images and entryPoints must match resources")
        if any(not isinstance(each["replica"], int) or each["replica"] < 1 for each in resources):
            return refusal(400, "Primus.00002", "the replica is invalid")
        if any(not isinstance(each[name], str) for each in resources for name in ("cpu", "gpu", "memory")):
            return refusal(400, "Primus.00002", "json: cannot unmarshal number into a string")
        replicas = sum(each["replica"] for each in resources)
        if sum(int(each["gpu"]) * each["replica"] for each in resources) > QUOTA:
            return refusal(503, "Primus.00008", "insufficient quota")
        nodes = body.get("specifiedNodes") or []
        if self.generation == NEW and nodes and len(nodes) != replicas:
            return refusal(400, "Primus.00002", "the replicas and the specified nodes differ")
        with self._lock:
            self._count += 1
            id = f"{body['displayName']}-{self._count:05}"
            self.workloads[id] = self._workload(id, workspace, resources, body)
            if self._execute is not None:
                self._start(id, replicas)
        return 200, {"workloadId": id}

    def _workload(self, id: str, workspace: str, resources: list[Any], body: dict[str, Any]) -> dict[str, Any]:
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        entry = body["entryPoint"] if self.generation == OLD else body["entryPoints"][0]
        common = {
            "workloadId": id,
            "displayName": body["displayName"],
            "description": body.get("description", ""),
            "phase": "Pending",
            "userName": body.get("userName", "") if self.generation == OLD else "ann",
            "env": body.get("env", {}),
            "timeout": body.get("timeout"),
            "secrets": body.get("secrets", []),
            "labels": body.get("labels", {}),
            "pods": [],
            "_entry": _decoded(entry),
        }
        if self.generation == OLD:
            return {**common, "workspace": workspace, "createTime": now, "resource": resources[0]}
        return {
            **common,
            "workspaceId": workspace,
            "creationTime": now,
            "resources": resources,
            "specifiedNodes": body.get("specifiedNodes", []),
        }

    def _start(self, id: str, replicas: int) -> None:
        """Each pod is a process on a loopback address of its own."""
        assert self._execute is not None
        workload = self.workloads[id]
        folder = self._execute / id
        folder.mkdir(parents=True)
        script = folder / "entry.sh"
        script.write_text(workload["_entry"])
        names = ("NNODES", "NODE_RANK") if self.generation == NEW else ("PET_NNODES", "PET_NODE_RANK")
        # Below those that the kernel gives to others meanwhile.
        port = next(port for port in random.sample(range(20_000, 32_000), 100) if is_free(port))
        gpus = (workload.get("resources") or [workload.get("resource")])[0]["gpu"]
        for rank in range(replicas):
            place = {names[0]: str(replicas), names[1]: str(rank), "GPUS_PER_NODE": gpus, "WORKLOAD_ID": id}
            place |= {"MASTER_ADDR": "127.0.0.2", "MASTER_PORT": str(port)}
            with (folder / f"pod-{rank}.log").open("wb") as log:
                process = subprocess.Popen(
                    ["/bin/sh", str(script)], env={**image_environment(), **workload["env"], **place},
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            self._pods.setdefault(id, []).append(process)
            workload["pods"].append({"podId": f"{id}-{rank}", "phase": "Running", "adminNodeName": f"node-{rank}"})
        workload["phase"] = "Running"

    def refresh(self) -> None:
        """Let phases follow the processes."""
        with self._lock:
            for id, processes in self._pods.items():
                workload = self.workloads[id]
                for pod, process in zip(workload["pods"], processes, strict=True):
                    if (status := process.poll()) is not None and pod["phase"] == "Running":
                        pod["phase"] = "Failed" if status else "Succeeded"
                        pod["containers"] = [{"name": "pytorch", "exitCode": status if status >= 0 else 128 - status}]
                if workload["phase"] == "Running" and all(process.poll() is not None for process in processes):
                    failed = any(process.poll() for process in processes)
                    workload["phase"] = "Failed" if failed else "Succeeded"

    def stop(self, id: str) -> None:
        with self._lock:
            for process in self._pods.get(id, ()):
                if process.poll() is None:
                    process.terminate()
            for process in self._pods.get(id, ()):
                process.wait()
            self.refresh()
            self.workloads[id]["phase"] = "Stopped"

    def close(self) -> None:
        for id in list(self._pods):
            self.stop(id)

    def log(self, id: str, pod: str) -> list[str]:
        assert self._execute is not None
        path = self._execute / id / f"pod-{pod.rpartition('-')[2]}.log"
        return path.read_text(errors="replace").splitlines()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, *arguments: Any) -> None:
        pass

    def _serve(self, method: str) -> None:
        state = self.server.state
        split = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self._fault(f"{method} {split.path.removeprefix(PREFIX)}")
        if fault is not None and not fault.after:
            return self._spoil(fault)
        query = parse_qs(split.query)
        state.refresh()
        status, answer = self._answer(method, split.path, query, raw)
        if fault is not None:
            return self._spoil(fault)
        return self._send(status, json.dumps(answer).encode())

    def _answer(self, method: str, path: str, query: dict[str, list[str]], raw: bytes) -> tuple[int, Any]:
        state = self.server.state
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            return refusal(400, "Primus.00002", "the body is no JSON")
        state.requests.append((f"{method} {path.removeprefix(PREFIX)}", query, body))
        if (method, path) == ("POST", f"{PREFIX}/login") and state.generation == NEW:
            return self._login(body)
        if state.keys and self.headers.get("Authorization", "").removeprefix("Bearer ") not in state.keys:
            return refusal(401, "Primus.00009", "the request has no valid credentials")
        for wanted, pattern, handle in _ROUTES:
            match = re.fullmatch(PREFIX + pattern, path)
            if wanted == method and match:
                return handle(state, query, body, *map(unquote, match.groups()))
        return refusal(404, "Primus.00005", f"{path} is not found")

    def _login(self, body: Any) -> tuple[int, Any]:
        state = self.server.state
        if state.accounts.get(body["name"]) != body["password"]:
            return refusal(401, "Primus.00009", "wrong name or password")
        state.keys.add("token-of-ann")
        return 200, {"token": "token-of-ann", "expire": int(time.time()) + 3600, "id": "u-1"}

    def _fault(self, what: str) -> Fault | None:
        for fault in self.server.state.faults:
            if fault.times and re.fullmatch(fault.path, what):
                fault.times -= 1
                return fault
        return None

    def _spoil(self, fault: Fault) -> None:
        time.sleep(fault.delay)
        if fault.close:
            # An abortive close, so that the client sees a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
            self.connection.close()
            return
        assert fault.status is not None
        self._send(fault.status, fault.body, fault.headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    state: SafeServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that went away


@contextmanager
def serving(state: SafeServer, *, certificate: tuple[Path, Path] | None = None) -> Iterator[SafeServer]:
    """The server at state.url while the context is open."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = state
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    state.url = (
        f"{scheme}://localhost:{server.server_port}" if certificate else f"http://127.0.0.1:{server.server_port}"
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        state.close()


def refusal(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"errorCode": code, "errorMessage": message}


def _create(state: SafeServer, query: Any, body: Any) -> tuple[int, Any]:
    return state.create(body)


def _list(state: SafeServer, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
    given = {name: values[-1] for name, values in query.items()}
    if state.list_needs_workspace and "workspaceId" not in given:
        return refusal(403, "Primus.00003", "you may not list all workspaces")
    items = [_visible(each) for each in state.workloads.values() if not each.get("_deleted")]
    if state.lag:
        state.lag -= 1
        items.pop()
    if state.generation == NEW:
        items = [each for each in items if given.get("workspaceId") in (None, each.get("workspaceId"))]
        items = [each for each in items if unquote_plus(given.get("description", "")) in each["description"]]
        items = [each for each in items if unquote_plus(given.get("userName", "")) in each["userName"]]
        items = [each for each in items if given.get("since", "") <= each["creationTime"] <= given.get("until", "~")]
        phases = given.get("phase", "").split(",") if "phase" in given else None
        items = [each for each in items if phases is None or each["phase"] in phases]
        items.sort(key=lambda each: str(each.get(given.get("sortBy", "creationTime"))))
        if given.get("order", "desc") == "desc":
            items.reverse()
    offset, limit = int(given.get("offset", 0)), int(given.get("limit", 100))
    if limit < 1:
        return refusal(400, "Primus.00002", "the limit is invalid")
    page = items[offset : offset + limit]
    answer: dict[str, Any] = {"totalCount": len(items)}
    return 200, {**answer, "items": page} if page or state.generation == NEW else answer


def _get(state: SafeServer, query: Any, body: Any, id: str) -> tuple[int, Any]:
    workload = state.workloads.get(id)
    if workload is None or workload.get("_deleted"):
        return refusal(404, "Primus.01001", f"the workload({id}) is not found")
    return 200, _visible(workload)


def _delete(state: SafeServer, query: Any, body: Any, id: str) -> tuple[int, Any]:
    if id in state.workloads:  # one that is missing is answered alike
        if state.workloads[id]["phase"] in ("Pending", "Running"):
            state.stop(id)
        state.workloads[id]["_deleted"] = True
    return 200, None


def _stop(state: SafeServer, query: Any, body: Any, id: str) -> tuple[int, Any]:
    if id not in state.workloads:
        return refusal(404, "Primus.01001", f"the workload({id}) is not found")
    state.stop(id)
    return 200, None


def _logs(state: SafeServer, query: dict[str, list[str]], body: Any, id: str, pod: str) -> tuple[int, Any]:
    if id not in state.workloads or pod not in [each["podId"] for each in state.workloads[id]["pods"]]:
        return refusal(404, "NotFound", f'pods "{pod}" not found')
    if any(each["podId"] == pod and each["phase"] == "Pending" for each in state.workloads[id]["pods"]):
        return refusal(400, "BadRequest", f'container "pytorch" in pod "{pod}" is waiting to start: ContainerCreating')
    return 200, {"logs": state.log(id, pod)[-int(query.get("tailLines", ["1000"])[0]) :]}


def _nodes(state: SafeServer, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
    limit = int(query.get("limit", ["100"])[0])
    paged = state.nodes if state.generation == OLD or limit == -1 else state.nodes[:limit]
    return 200, {"totalCount": len(state.nodes), "items": paged}


def _workspaces(state: SafeServer, query: Any, body: Any) -> tuple[int, Any]:
    items = [{"workspaceId": name, "phase": "Running", "currentNodeCount": 4} for name in state.workspaces]
    return 200, {"totalCount": len(items), "items": items}


_NAME = r"([^/]+)"
_ROUTES: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
    ("POST", "/workloads", _create),
    ("GET", "/workloads", _list),
    ("GET", f"/workloads/{_NAME}", _get),
    ("DELETE", f"/workloads/{_NAME}", _delete),
    ("POST", f"/workloads/{_NAME}/stop", _stop),
    ("GET", f"/workloads/{_NAME}/pods/{_NAME}/logs", _logs),
    ("GET", "/nodes", _nodes),
    ("GET", "/workspaces", _workspaces),
]


def _node(name: str, generation: str) -> dict[str, Any]:
    amounts = {"totalResources": {"amd.com/gpu": 8, "cpu": 192}, "availResources": {"amd.com/gpu": 8, "cpu": 190}}
    if generation == OLD:
        return {"displayName": name, "internalIP": "10.0.0.1", "available": True, "cluster": "c1", "workspace": "w1",
                "createTime": "2025-06-01T00:00:00", **amounts}  # fmt: skip
    return {"nodeId": name, "nodeName": name, "internalIP": "10.0.0.1", "available": True, "clusterId": "c1",
            "workspace": {"id": "w1", "name": "w1"}, "phase": "Ready", "workloads": [], **amounts}  # fmt: skip


def _visible(workload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in workload.items() if not name.startswith("_")}


def _decoded(entry: str) -> str:
    """As the server does it: what looks like base64 is taken for it."""
    try:
        return base64.b64decode(entry, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return entry


def image_environment() -> dict[str, str]:
    """Of a pod's image: nothing of whoever runs the server but what finds programs, this Python's among them."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return kept | {"PATH": path, "OMP_NUM_THREADS": "1"}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.2", port)) != 0

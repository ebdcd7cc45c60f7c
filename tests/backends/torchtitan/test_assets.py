"""The tokenizer's folder: one that is here, or a repository of the Hub, which a small server plays."""

import json
import os
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from threading import Thread

import pytest

pytest.importorskip("huggingface_hub")

FILES = {
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"a": 1}',
    "model.safetensors": b"weights",
    "README.md": b"",
}
COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """The two requests of a download: what a repository holds, and one file of it."""

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def answer(self, *, body):
        self.server.asked.append(self.path)
        content = self.content()
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "RepoNotFound")
            content = b""
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{len(content)}-{self.path.rpartition("/")[2]}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def content(self):
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/org/model"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in FILES.items()]
            if "/tree/" in path:
                rows = [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in FILES.items()]
                return json.dumps(rows).encode()
            return json.dumps({"id": "org/model", "sha": COMMIT, "siblings": siblings}).encode()
        if path.startswith("/org/model/resolve/"):
            return FILES.get(path.rpartition("/")[2])
        return None

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    """A Hub with one repository, org/model; `hub.asked` lists the paths of the requests."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(tmp_path):
    """What a worker process says when it asks for `name`: the library reads its settings when it is imported."""

    def ask(name, port, *, local_rank=0, weights=False):
        code = f"""
            from types import SimpleNamespace
            from primus.backends import assets
            from primus.backends.torchtitan.assets import local_folder
            from primus.errors import MissingError
            from primus.run import RunDirectory
            assets._PATIENCE = 1
            worker = SimpleNamespace(local_rank={local_rank}, node_rank=0, run_dir=RunDirectory({str(tmp_path)!r}))
            try:
                print(local_folder({name!r}, worker, weights={weights}))
            except MissingError as error:
                print("Error:", error)
        """
        environ = {
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
        }
        command = [sys.executable, "-c", dedent(code)]
        done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=True)
        return done.stdout.strip().splitlines()[-1]

    return ask


def test_a_repository_is_downloaded_without_what_is_not_needed(hub, fetch):
    folder = Path(fetch("org/model", hub.server_port))
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    assert (folder / "tokenizer_config.json").read_bytes() == FILES["tokenizer_config.json"]


def test_weights_come_along_when_training_starts_from_them(hub, fetch):
    folder = Path(fetch("org/model", hub.server_port, weights=True))
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_only_one_process_of_a_node_asks_the_hub(hub, fetch):
    folder = fetch("org/model", hub.server_port)
    before = len(hub.asked)
    assert fetch("org/model", hub.server_port, local_rank=1) == folder
    assert len(hub.asked) == before


def test_the_others_do_not_wait_for_ever(hub, fetch):
    assert "took more than 1 seconds" in fetch("org/model", hub.server_port, local_rank=1)


def test_a_repository_that_does_not_exist_is_an_error(hub, fetch):
    assert "set HF_TOKEN" in fetch("org/other", hub.server_port)


def test_a_hub_that_can_not_be_reached_is_an_error(fetch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "can't reach org/model on the Hub" in fetch("org/model", port)


def test_a_folder_is_taken_as_it_is(tmp_path, fetch):
    assert fetch(str(tmp_path), 9) == str(tmp_path)


def test_a_path_that_is_no_folder_and_no_repository_is_an_error(fetch):
    assert "./nowhere is not a folder here" in fetch("./nowhere", 9)

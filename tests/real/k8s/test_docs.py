"""docs/kubernetes.md: its commands run against the stand-in servers, and its options exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kube_server import KubeServer, serving_cluster
from safe_server import NEW, OLD, SafeServer, serving

pytestmark = pytest.mark.real

PAGE = (Path(__file__).parents[3] / "docs/kubernetes.md").read_text(encoding="utf-8")
ELSEWHERE = {"--stall-timeout", "--on-stall"}
"""Options of `primus train`."""


def commands(*, native: bool) -> list[list[str]]:
    """The words of each command, in the order of the page."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    matches = [re.fullmatch(r"(?:id=\$\()?primus k8s (.*?)\)?", line) for line in lines]
    found = [shlex.split(match[1]) for match in matches if match]
    return [words for words in found if ("--context" in words) == native]


def play(words: list[str], run: Callable[..., subprocess.CompletedProcess[str]], id: str) -> str:
    """Run a command with the id of the last workload; returns that of the newest."""
    done = run(*[id if word == "$id" else word for word in words], stdin="secret\n")
    assert done.returncode == 0, f"{words}\n{done.stderr}"
    return done.stdout.strip() if {"create", "id"} <= set(words) else id


@pytest.mark.parametrize("generation", [OLD, NEW])
def test_the_commands_for_a_server_work(generation: str, call: Any) -> None:
    with serving(SafeServer(generation, workspaces=("team-dev",))) as state:
        environment = {"PRIMUS_SAFE_URL": state.url, "PRIMUS_SAFE_API_KEY": "ak-right"}
        id, ran = "", 0
        for words in commands(native=False):
            if generation == OLD and words[0] == "login":  # it asks nobody
                continue
            if {"wait", "--follow"} & set(words):
                state.workloads[id]["phase"] = "Succeeded"
            id = play(words, lambda *arguments, **other: call(*arguments, **other, **environment), id)
            ran += 1
    assert ran >= 15


def test_the_commands_for_a_cluster_work(call: Any, tmp_path: Path) -> None:
    with serving_cluster(KubeServer()) as state:
        config = state.write_kubeconfig(tmp_path / "config")
        id, ran = "", 0
        for words in commands(native=True):
            if {"wait", "--follow"} & set(words):
                done = {"conditions": [{"type": "Complete", "status": "True"}]}
                state.objects["Job", "default", id]["status"] = done
            id = play(words, lambda *arguments, **other: call(*arguments, **other, KUBECONFIG=str(config)), id)
            ran += 1
    assert ran >= 10


def test_every_option_of_the_page_exists(call: Any) -> None:
    named = set(re.findall(r"--[a-z][a-z-]+[a-z]", PAGE)) - ELSEWHERE
    verbs = ("create", "get", "list", "nodes", "logs", "wait", "login")
    texts = [call(*verb, "--help", COLUMNS="200").stdout for verb in ((), *((verb,) for verb in verbs))]

    assert len(named) > 40
    assert not [option for option in named if not re.search(rf"{option}\b", "".join(texts))]

"""The request for a workload, compared with golden files. PRIMUS_WRITE_GOLDEN=1 writes them."""

import base64
import json
import os
from pathlib import Path

import pytest

from primus.launch.k8s.entry import entry_script
from primus.launch.k8s.safe.body import create_body

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["one_node", "two_nodes"])
def test_the_body_is_the_golden_one(name, workload):
    fields = {
        "one_node": {},
        "two_nodes": {
            "replicas": 2,
            "nodes": ("node-1", "node-2"),
            "environment": {"EXP": "tiny.yaml", "QUOTED": "a 'b' \"c\" $(date)\n"},
            "secrets": ("hf",),
            "labels": {"team": "llm"},
            "priority": 2,
            "timeout": 5400,
            "arguments": ("--tune-stage", "1", "--tag", "a b; touch x"),
        },
    }[name]
    body = create_body(workload(**fields), "team-dev")
    # The script has tests of its own, and would make these files unreadable.
    assert {body["entryPoint"], *body["entryPoints"]} == {
        base64.b64encode(entry_script(workload(**fields)).encode()).decode()
    }
    shown = {**body, "entryPoint": "...", "entryPoints": ["..."] * len(body["entryPoints"])}
    text = json.dumps(shown, indent=2) + "\n"
    path = GOLDEN / f"safe_{name}.json"
    if os.environ.get("PRIMUS_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_a_server_of_june_2025_counts_the_time_limit_in_hours(workload):
    assert create_body(workload(timeout=5400), "w", timeout_in_hours=True)["timeout"] == 2


def test_one_pinned_node_is_also_said_as_june_2025_understands_it(workload):
    body = create_body(workload(nodes=("node-1",)), "w")

    assert body["specifiedNodes"] == ["node-1"]
    assert body["customerLabels"] == {"kubernetes.io/hostname": "node-1"}

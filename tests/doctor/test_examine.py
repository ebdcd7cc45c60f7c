from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from primus.doctor.examine import Examination, conclude, rates
from primus.doctor.page import page
from primus.doctor.report import text

NODE = {"node": 0, "host": "gpu-0", "facts": {"system": {"kernel": "6.8"}}}


def examined(**fields):
    defaults = {"started": "2026-01-31T12:00:00Z", "full": False, "run_dir": "/runs/one", "nodes": [NODE]}
    return conclude(Examination(**{**defaults, **fields}))


def value(name, number, unit):
    return {"name": name, "value": number, "spread": 0.0, "unit": unit}


def findings(answer):
    return [(each["severity"], each["name"], each["where"]) for each in answer["findings"]]


def test_nodes_that_did_not_come_or_not_answer_are_named():
    answer = examined(absent=[1], silent=[2])
    assert findings(answer) == [("error", "absent", "node 1"), ("error", "silent", "node 2")]


@pytest.mark.parametrize(
    ("facts", "severity", "status"),
    [
        ({}, None, 0),
        ({"limits": {"nofile": [1024, 4096]}}, "note", 0),
        ({"memory": {"shared_gib": 0.06}}, "warning", 10),
        ({"memory": {"shared_gib": 0.06}, "hung": {"names": 10}}, "error", 20),
    ],
)
def test_the_exit_status_is_that_of_the_worst_finding(facts, severity, status):
    answer = examined(nodes=[{**NODE, "facts": facts}])
    assert (answer["severity"], answer["exit_status"]) == (severity, status)


def test_the_worst_finding_stands_first():
    answer = examined(nodes=[{**NODE, "facts": {"memory": {"shared_gib": 0.06}, "hung": {"names": 10}}}])
    assert [each["severity"] for each in answer["findings"]] == ["error", "warning"]


def test_rates_are_medians_over_the_devices(worker_result):
    results = [
        worker_result(
            rank,
            values=[
                value("gemm bf16", 600.0 + rank, "TFLOP/s"),
                value("memory copy", 4.2, "TB/s"),
                value("all_reduce node", 300.0, "GB/s"),
                value("all_reduce all", 45.0, "GB/s"),
            ],
        )
        for rank in range(3)
    ]
    assert rates(results) == {
        "gemm_tflops": {"bf16": 601},
        "memory_tb": 4.2,
        "all_reduce_gb": {"node": 300, "all": 45},
    }


def test_the_known_peak_stands_beside_the_rate(worker_result):
    device = {"kind": "amd", "name": "AMD Instinct MI300X", "accelerator": "AMD Instinct MI300X"}
    answer = examined(results=[worker_result(0, device=device, values=[value("gemm bf16", 653.7, "TFLOP/s")])])
    assert answer["devices"][0]["peak"]["gemm_tflops"]["bf16"] == 1307.4
    assert "50% of 1307.4" in " ".join(text(answer).split())


def test_a_silent_node_is_an_error_that_names_it():
    assert findings(examined(silent=[3])) == [("error", "silent", "node 3")]


def hanging(worker_result, *others):
    waiting = {"doing": "all_reduce all", "late": True, "done": ["import torch", "meet", "gemm bf16"]}
    results = [worker_result(0, **waiting), *(worker_result(rank, **each) for rank, each in others)]
    return examined(results=results, workers=3, failure="exit status 124")


def test_a_worker_behind_the_others_is_named(worker_result):
    waiting = {"doing": "all_reduce all", "late": True, "done": ["import torch", "meet", "gemm bf16"]}
    behind = {"doing": "gemm bf16", "late": True, "done": ["import torch", "meet"]}
    answer = hanging(worker_result, (1, waiting), (2, behind))
    assert findings(answer) == [("error", "worker-hangs", "rank 2 on node 0 (host0)")]
    assert "in `all_reduce all`; it was in `gemm bf16`, after meet" in answer["findings"][0]["evidence"]


def test_a_worker_that_did_not_notice_is_named(worker_result):
    waiting = {"doing": "all_reduce all", "late": True, "done": ["import torch", "meet", "gemm bf16"]}
    answer = hanging(worker_result, (1, waiting), (2, {**waiting, "late": False}))
    assert findings(answer) == [("error", "worker-hangs", "rank 2 on node 0 (host0)")]


def test_a_worker_that_left_nothing_is_named(worker_result):
    waiting = {"doing": "all_reduce all", "late": True, "done": ["import torch", "meet", "gemm bf16"]}
    assert findings(hanging(worker_result, (1, waiting))) == [("error", "worker-hangs", "rank 2")]


def test_when_all_wait_alike_the_network_is_blamed(worker_result):
    waiting = {"doing": "all_reduce all", "late": True, "done": ["import torch", "meet", "gemm bf16"]}
    assert findings(hanging(worker_result, (1, waiting), (2, waiting))) == [("error", "all-wait", "all ranks")]


def test_a_worker_that_failed_is_told_with_the_cause(worker_result):
    answer = examined(results=[worker_result(0)], workers=1, failure="rank 0 on node 0: HIP error")
    assert findings(answer) == [("error", "measuring-failed", "the measured part")]
    assert answer["findings"][0]["evidence"] == "rank 0 on node 0: HIP error"


def test_the_answer_is_json_and_the_report_says_what_was_left_out():
    answer = examined(left_out=["the measured part: torch can't be imported on node 0 (gpu-0)"])
    assert json.loads(json.dumps(answer)) == answer
    assert "Left out: the measured part: torch can't be imported" in text(answer)


def test_the_report_says_what_a_node_reaches_the_others_through():
    interface = {"name": "eth0", "state": "up", "speed_mb": 100000, "mtu": 9000}
    chosen = {"interface": "eth0", "fabric": "8 active ports, RoCE at 400 Gb/s", "gid_index": 3, "gid": "RoCE v2"}
    node = {**NODE, "facts": {"network": {"interfaces": [interface], "chosen": chosen}}}
    row = next(line for line in text(examined(nodes=[node])).splitlines() if "eth0" in line)
    assert row.split()[1:7] == ["eth0", "up,", "100000", "Mb/s,", "MTU", "9000"]
    assert "8 active ports, RoCE at 400 Gb/s" in row
    assert "3 (RoCE v2)" in row


def test_the_report_shows_the_median_the_least_and_the_most(worker_result):
    results = [worker_result(rank, values=[value("memory copy", 4.0 + rank, "TB/s")]) for rank in range(2)]
    assert "memory copy TB/s 4.5 4 5" in " ".join(text(examined(results=results)).split())


class Page(HTMLParser):
    """What a browser would load, and whether all that was opened is closed."""

    def __init__(self, markup):
        super().__init__()
        self.open, self.loaded = [], []
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        self.loaded += [content for name, content in attributes if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(worker_result):
    gpu = {"index": 0, "temperature_c": 44, "ecc_uncorrected": 1}
    node = {**NODE, "host": "<b>&", "facts": {"gpus": {"gpus": [gpu], "count": 1, "model": "gfx942"}}}
    answer = examined(nodes=[node], results=[worker_result(0, values=[value("memory copy", 4.2, "TB/s")])])
    markup = page(answer)
    seen = Page(markup)
    assert seen.open == []
    assert seen.loaded == []
    assert "&lt;b&gt;&amp;" in markup
    assert "ecc-uncorrected" in markup
    assert "memory copy" in markup

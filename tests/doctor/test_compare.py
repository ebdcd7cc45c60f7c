from __future__ import annotations

from primus.doctor.compare import device_findings, node_findings


def nodes(*facts, **fields):
    return [{"node": number, "host": f"gpu-{number}", "facts": each, **fields} for number, each in enumerate(facts)]


def value(name, number, unit="TFLOP/s", spread=0.0, **more):
    return {"name": name, "value": number, "spread": spread, "unit": unit, **more}


def test_a_node_with_other_software_is_named_with_what_differs():
    usual = {"software": {"packages": {"torch": "2.8.0", "triton": "3.3"}}}
    odd = {"software": {"packages": {"torch": "2.7.1", "triton": "3.3"}}}
    (finding,) = node_findings(nodes(usual, odd, usual))
    assert finding.where == "node 1 (gpu-1)"
    assert finding.evidence == "software packages: torch 2.7.1, where 2 of 3 nodes have torch 2.8.0"


def test_nodes_that_are_alike_have_no_findings():
    usual = {"system": {"kernel": "6.8"}, "gpus": {"count": 8, "model": "gfx942"}}
    assert list(node_findings(nodes(usual, usual))) == []


def test_a_slow_disk_among_the_nodes_is_named():
    speeds = [1000.0, 990.0, 1010.0, 1005.0, 100.0]
    facts = [{"folders": [{"use": "run", "write_mb": speed}]} for speed in speeds]
    (finding,) = node_findings(nodes(*facts))
    assert (finding.name, finding.where) == ("slow-folder", "node 4 (gpu-4)")
    assert "100 MB/s written, the median is 1000" in finding.evidence


def test_a_node_that_imports_torch_slowly_is_named():
    facts = [{"torch": {"seconds": seconds}} for seconds in (4.0, 4.1, 3.9, 4.0, 60.0)]
    (finding,) = node_findings(nodes(*facts))
    assert (finding.name, finding.where) == ("slow-import", "node 4 (gpu-4)")


def test_a_clock_that_is_off_by_more_than_the_way_takes_is_named():
    assert list(node_findings(nodes({}, clock={"seconds": 3.0, "within": 2.5}))) == []
    (finding,) = node_findings(nodes({}, clock={"seconds": -30.0, "within": 0.01}))
    assert "30.00 s behind node 0's" in finding.evidence


def test_a_slow_device_is_named_with_the_median_and_the_spread(worker_result):
    speeds = [600.0, 605.0, 598.0, 601.0, 410.0]
    results = [
        worker_result(rank, node=rank // 4, values=[value("gemm bf16", speed)]) for rank, speed in enumerate(speeds)
    ]
    (finding,) = device_findings(results)
    assert finding.where == "rank 4 on node 1 (host1)"
    assert finding.evidence == "gemm bf16: 410 TFLOP/s; median of 5 is 600, median distance 2"


def test_a_slow_pair_is_named_by_both_ranks(worker_result):
    def speed(a, b):
        return 5.0 if {a, b} == {1, 3} else 50.0

    results = [
        worker_result(rank, values=[value("pairs node", speed(rank, o), "GB/s", peer=o) for o in range(4) if o != rank])
        for rank in range(4)
    ]
    (finding,) = device_findings(results)
    assert finding.where == "ranks 1 and 3"


def test_collectives_inside_nodes_are_compared_by_node(worker_result):
    results = [
        worker_result(rank, node=rank // 2, values=[value("all_reduce node", 10.0 if rank > 7 else 90.0, "GB/s")])
        for rank in range(10)
    ]
    (finding,) = device_findings(results)
    assert finding.where == "node 4 (host4)"


def test_what_all_do_together_is_not_compared(worker_result):
    results = [worker_result(rank, values=[value("ring all", 1.0 + 9 * rank, "GB/s")]) for rank in range(6)]
    assert list(device_findings(results)) == []


def test_two_devices_that_differ_are_a_note(worker_result):
    results = [worker_result(rank, values=[value("gemm bf16", 600.0 - 200 * rank, spread=1.0)]) for rank in range(2)]
    (finding,) = device_findings(results)
    assert (finding.severity, finding.where) == ("note", "rank 1 on node 0 (host0)")

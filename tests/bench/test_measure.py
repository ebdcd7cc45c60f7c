from __future__ import annotations

import json

import pytest

from primus.bench.measure import OUT_OF_MEMORY, Result, best, judge
from primus.bench.show import as_text, bar
from primus.launch.diagnosis import causes
from primus.run import RunDirectory, Status

POINT = ("micro_batch_size=2",)


@pytest.fixture
def run_dir(tmp_path):
    """A run of six steps, whose first two are slow."""
    run = RunDirectory(tmp_path)
    rates = [10.0, 50.0, 100.0, 104.0, 96.0, 100.0]
    lines = [
        {"step": n, "loss": 1.0, "tokens_per_second": rate, "step_time": 100 / rate, "memory_gib": 1.0 + n}
        for n, rate in enumerate(rates, start=1)
    ]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_warm_up_does_not_count(run_dir):
    result = judge(POINT, run_dir.path, 0, warm_up=2)
    assert (result.state, result.steps, result.tokens_per_second, result.step_time) == ("measured", 4, 100.0, 1.0)
    assert result.memory_gib == 7.0


def test_the_spread_is_half_of_the_distance_between_the_quartiles(run_dir):
    assert judge(POINT, run_dir.path, 0, warm_up=2).spread == pytest.approx(0.01)
    assert judge(POINT, run_dir.path, 0, warm_up=5).spread == 0


@pytest.mark.parametrize("name", sorted(OUT_OF_MEMORY))
def test_the_known_ways_to_run_out_of_memory_are_one_state(run_dir, name):
    assert name in {cause.name for cause in causes()}
    run_dir.write_status(Status(state="failed", exit_status=1, diagnosis={"name": name, "cause": "it is full"}))
    result = judge(POINT, run_dir.path, 1, warm_up=2)
    assert (result.state, result.reason) == ("out of memory", "it is full")


def test_another_failure_keeps_its_cause(run_dir):
    run_dir.write_status(Status(state="failed", exit_status=7, cause="rank 0 left with status 7"))
    result = judge(POINT, run_dir.path, 7, warm_up=2)
    assert (result.state, result.reason, result.tokens_per_second) == ("failed", "rank 0 left with status 7", None)


def test_the_fastest_is_the_best_and_nothing_is_when_none_was_measured():
    slow, fast = (Result(point=(f"a={n}",), state="measured", tokens_per_second=n) for n in (1.0, 2.0))
    failed = Result(point=("a=3",), state="failed", reason="no")
    assert best([slow, fast, failed]) is fast
    assert best([failed]) is None


def test_the_table_has_bars_the_best_and_the_reasons(run_dir):
    measured = judge(POINT, run_dir.path, 0, warm_up=2)
    text = as_text([measured, Result(point=("micro_batch_size=4",), state="out of memory", reason="it is full")])
    first, second = text.splitlines()[1:3]
    assert first.endswith("█ best")
    assert second.endswith("out of memory")
    assert text.endswith("micro_batch_size=4: it is full")


def test_a_bar_has_eighths():
    assert (bar(1.0), bar(0.5), bar(0.0)) == ("█" * 24, "█" * 12, "")
    assert bar(1 / 24 / 8) == "▏"

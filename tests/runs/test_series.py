from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.runs.series import read_series

NUMBERS = st.floats() | st.integers(-(2**40), 2**40) | st.sampled_from(["NaN", "Infinity", "-Infinity", None])


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@given(st.lists(st.dictionaries(st.sampled_from(["lr", "mfu", "mtp_1_loss", "step_time"]), NUMBERS), max_size=20))
def test_every_value_comes_out_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, others: list[dict]):
    reports = [{"step": step, "loss": 1.5e-7, **other} for step, other in enumerate(others, 1)]
    path = write(tmp_path_factory.mktemp("series") / "metrics.jsonl", [json.dumps(report) for report in reports])

    series = read_series(path)

    assert list(series.steps) == [report["step"] for report in reports]
    for name in {name for report in reports for name in report} - {"step"}:
        for at, report in enumerate(reports):
            value, found = report.get(name), series.columns[name][at]
            expected = math.nan if value is None else float(value)
            assert found == expected or (math.isnan(found) and math.isnan(expected))
            assert (at in series.broken.get(name, ())) == (value is not None and not math.isfinite(expected))


def test_many_alike_lines_are_read_as_single_ones_are(tmp_path):
    reports = [{"step": step, "loss": 10 / step, "lr": 1e-9 * step, "memory_gib": 1e20} for step in range(1, 20_001)]

    series = read_series(write(tmp_path / "metrics.jsonl", [json.dumps(report) for report in reports]))

    assert list(series.columns["loss"]) == [report["loss"] for report in reports]
    assert list(series.columns["lr"]) == [report["lr"] for report in reports]
    assert list(series.columns["memory_gib"]) == [1e20] * 20_000


@pytest.mark.parametrize("number", ["1e5", "1E5", "1E-5", "-0.5", "true", "null", '"7"', "[1]", "{}"])
def test_numbers_in_other_writing_are_not_misread(tmp_path, number):
    line = f'{{"step": 1, "loss": 2.0, "lr": {number}}}'

    series = read_series(write(tmp_path / "metrics.jsonl", [line] * 3))

    expected = {"null": math.nan, "[1]": math.nan, "{}": math.nan, "true": 1.0, '"7"': 7.0}.get(number)
    expected = float(number) if expected is None else expected
    found = series.columns["lr"]
    assert all(value == expected or (math.isnan(value) and math.isnan(expected)) for value in found)


def test_a_metric_that_comes_later_is_as_long_as_the_steps(tmp_path):
    lines = ['{"step": 1, "loss": 2.0}', '{"step": 2, "loss": 2.0, "mfu": 0.4}', '{"step": 3, "loss": 2.0}']

    series = read_series(write(tmp_path / "metrics.jsonl", lines))

    assert [math.isnan(value) for value in series.columns["mfu"]] == [True, False, True]
    assert not series.broken


def test_reports_come_in_the_order_of_their_steps(tmp_path):
    lines = ['{"step": 3, "loss": "NaN"}', '{"step": 1, "loss": 1.0}', '{"step": 2, "loss": 2.0}']

    series = read_series(write(tmp_path / "metrics.jsonl", lines))

    assert (list(series.steps), list(series.broken["loss"])) == ([1, 2, 3], [2])
    assert list(series.values("loss")) == [1.0, 2.0]


@pytest.mark.parametrize("torn", ['{"step": 4, "lo', "[1, 2]", "", "7", '{"step": "x", "loss": 1}', "\x00\x00"])
def test_what_is_no_report_is_counted_and_left_out(tmp_path, torn):
    lines = ['{"step": 1, "loss": 1.0}', torn, '{"step": 2, "loss": 2.0}']

    series = read_series(write(tmp_path / "metrics.jsonl", lines))

    assert (list(series.steps), series.damaged) == ([1, 2], 1)


def test_numbers_that_are_too_large_are_damage_and_no_fault(tmp_path):
    lines = [
        '{"step": 1, "loss": 2}',
        '{"step": 99999999999999999999, "loss": 1}',
        f'{{"step": 3, "loss": 1{"0" * 400}}}',
    ]
    series = read_series(write(tmp_path / "metrics.jsonl", lines))
    assert (list(series.steps), series.damaged) == ([1, 3], 1)
    assert series.values("loss") == [2]


def test_a_file_that_can_not_be_read_says_why(tmp_path):
    assert read_series(tmp_path).refused == "Is a directory"
    assert read_series(tmp_path / "none").refused == ""

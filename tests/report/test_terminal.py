from __future__ import annotations

from array import array

from primus.report.terminal import plot


def test_a_falling_curve_goes_from_the_upper_left_to_the_lower_right():
    lines = plot("loss", range(100), array("d", [100.0 - step for step in range(100)]), width=40, height=4).splitlines()

    assert lines[0] == "loss"
    assert lines[1].startswith("100 ┤")
    assert lines[4].startswith("  1 ┤")
    begins = [next(at for at, dot in enumerate(line[5:]) if dot not in "\u2800") for line in lines[1:5]]
    assert begins == sorted(begins)
    assert max(map(len, lines)) <= 40


def test_a_spike_and_a_value_that_is_no_number_are_survived():
    values = array("d", [1.0] * 1000)
    values[500], values[700] = 9.0, float("nan")

    assert plot("loss", range(1000), values, width=60).splitlines()[1].startswith("9 ┤")


def test_no_values_are_said():
    assert plot("mfu", [1], array("d", [float("nan")]), width=60) == "mfu: no values"

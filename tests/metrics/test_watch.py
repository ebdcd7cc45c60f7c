import math

import pytest

from primus.metrics.watch import ENOUGH, PATIENCE, SpikeDetector, Watch, find_stragglers


def noisy(level, count, width=0.02):
    """Losses around `level`, the same ones every time."""
    return [level + width * math.sin(7.0 * index) for index in range(count)]


def spikes(losses):
    detector = SpikeDetector()
    return [index for index, loss in enumerate(losses) if detector.is_new_spike(loss)]


def test_a_jump_of_the_loss_is_a_spike():
    assert spikes([*noisy(2.0, 40), 3.5]) == [40]


def test_noise_is_no_spike():
    assert spikes(noisy(2.0, 500)) == []


def test_a_falling_loss_is_no_spike():
    assert spikes([10 * 0.97**index for index in range(300)]) == []


def test_ripples_on_a_flat_loss_are_no_spike():
    assert spikes([2.0] * 50 + [2.01]) == []


def test_a_spike_is_reported_once_however_long_it_lasts():
    assert spikes([*noisy(2.0, 40), 3.5, 3.6, 3.4, 3.5]) == [40]


def test_a_second_spike_is_reported_again():
    assert spikes([*noisy(2.0, 40), 3.5, *noisy(2.0, 10), 3.5]) == [40, 51]


def test_a_loss_that_stays_high_becomes_the_usual_one():
    assert spikes([*noisy(2.0, 64), *noisy(4.0, 64), 6.0]) == [64, 128]


def test_the_first_losses_are_not_judged():
    assert spikes([2.0] * (ENOUGH - 1) + [200.0]) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_not_a_spike_and_does_not_disturb_the_others(loss):
    assert spikes([*noisy(2.0, 40), loss, *noisy(2.0, 10), 3.5]) == [51]


def test_the_rank_that_is_slower_than_the_median_is_found():
    found = find_stragglers([1.0, 1.05, 1.5, 0.95], step_time=1.6)
    assert [(straggler.rank, straggler.seconds) for straggler in found] == [(2, 1.5)]
    assert found[0].median == pytest.approx(1.025)


def test_ranks_that_differ_by_less_than_a_fifth_are_equal():
    assert find_stragglers([1.0, 1.19, 0.85, 1.0], step_time=1.2) == []


def test_a_difference_that_does_not_matter_to_the_step_is_none():
    assert find_stragglers([0.001, 0.002, 0.009], step_time=1.0) == []
    assert find_stragglers([0.001, 0.002, 0.09], step_time=1.0) != []


def test_a_single_rank_is_no_straggler():
    assert find_stragglers([1.0], step_time=1.0) == []


def test_watch_warns_of_a_rank_once_when_it_has_been_slow_for_several_reports():
    watch = Watch()
    seen = [watch.look(step, 2.0, [1.0, 1.0, 2.0], step_time=2.0) for step in range(1, 8)]
    assert [step for step, warnings in enumerate(seen, 1) if warnings] == [PATIENCE]
    (warning,) = seen[PATIENCE - 1]
    assert warning.startswith(f"step {PATIENCE}: rank 2 is slow")
    assert "2.000 s" in warning
    assert "1.000 s" in warning


def test_watch_warns_again_when_the_rank_was_fast_in_between():
    watch = Watch()
    slow, even = [1.0, 1.0, 2.0], [1.0, 1.0, 1.0]
    times = [slow] * PATIENCE + [even] + [slow] * PATIENCE
    seen = [watch.look(step, 2.0, row, step_time=2.0) for step, row in enumerate(times)]
    assert sum(map(len, seen)) == 2


def test_watch_warns_of_a_spike_with_step_and_losses():
    watch = Watch()
    for step, loss in enumerate(noisy(2.0, 40)):
        assert watch.look(step, loss, [1.0], step_time=1.0) == []
    assert watch.look(41, 3.5, [1.0], step_time=1.0) == ["step 41: the loss jumped to 3.5, from about 2.003"]

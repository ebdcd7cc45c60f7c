import pytest

from primus.metrics.meter import Meter


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def meter_of(clock, **changes):
    return Meter(**{"tokens_per_step": 1000, "devices": 4, "clock": clock} | changes)


def pass_steps(meter, clock, *durations):
    for seconds in durations:
        clock.now += seconds
        meter.step_done()


def test_report_averages_over_the_steps_since_the_last_one(clock):
    meter = meter_of(clock)
    pass_steps(meter, clock, 1, 3)
    assert meter.report()["step_time"] == 2
    pass_steps(meter, clock, 5, 5, 5, 1)
    report = meter.report()
    assert report["step_time"] == 4
    assert report["tokens_per_second"] == 250
    assert report["tokens_per_second_per_gpu"] == 62.5


def test_tflops_and_mfu_count_all_tokens_of_the_step_for_each_device(clock):
    meter = meter_of(clock, flops_per_token=8e9, peak=4e12)
    pass_steps(meter, clock, 2)
    report = meter.report()
    # 1000 tokens in 2 s of 8 GFLOP each, on 4 devices.
    assert report["tflops_per_gpu"] == pytest.approx(1.0)
    assert report["mfu"] == pytest.approx(0.25)


@pytest.mark.parametrize(("known", "missing"), [({"flops_per_token": 8e9}, {"mfu"}), ({}, {"mfu", "tflops_per_gpu"})])
def test_what_is_not_known_is_left_out(clock, known, missing):
    meter = meter_of(clock, **known)
    pass_steps(meter, clock, 1)
    assert not meter.report().keys() & missing


def test_pauses_do_not_count(clock):
    meter = meter_of(clock)
    pass_steps(meter, clock, 1)
    with meter.pause():
        clock.now += 100
    pass_steps(meter, clock, 1)
    report = meter.report()
    assert report["step_time"] == 1
    assert report["tokens_per_second_average"] == 1000


def test_a_pause_that_fails_does_not_count_either(clock):
    meter = meter_of(clock)

    def fail():
        with meter.pause():
            clock.now += 100
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fail()
    pass_steps(meter, clock, 1)
    assert meter.report()["step_time"] == 1


def test_data_time_is_what_the_steps_waited_for_their_batches(clock):
    def batches():
        for batch in ("first", "second"):
            clock.now += 3
            yield batch

    meter = meter_of(clock)
    timed = meter.timed(batches())
    clock.now += 1
    assert next(timed) == "first"
    assert next(timed) == "second"
    meter.step_done()
    meter.step_done()
    report = meter.report()
    assert report["data_time"] == 3
    assert report["step_time"] == 3.5
    pass_steps(meter, clock, 1)
    assert meter.report()["data_time"] == 0


def test_timed_batches_end_like_the_batches(clock):
    assert list(meter_of(clock).timed(iter([1, 2]))) == [1, 2]


def test_the_long_average_leaves_out_the_first_steps(clock):
    meter = meter_of(clock, skip=2)
    pass_steps(meter, clock, 50, 50)
    assert "tokens_per_second_average" not in meter.report()
    pass_steps(meter, clock, 1, 3)
    assert meter.report()["tokens_per_second_average"] == 500


def test_the_long_average_spans_reports_and_starts_again_when_asked(clock):
    meter = meter_of(clock, reset=4)
    pass_steps(meter, clock, 1, 1)
    meter.report()
    pass_steps(meter, clock, 3)
    assert meter.report()["tokens_per_second_average"] == pytest.approx(600)
    pass_steps(meter, clock, 3, 10)
    assert meter.report()["tokens_per_second_average"] == 100


def test_every_metric_of_a_report_is_in_the_table(clock):
    from primus.metrics.names import is_known

    meter = meter_of(clock, flops_per_token=1, peak=1)
    pass_steps(meter, clock, 1)
    assert all(is_known(name) for name in meter.report())

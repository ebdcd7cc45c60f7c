import threading

import pytest

from primus.metrics.sinks import Sinks
from primus.metrics.sinks.channel import Channel
from primus.metrics.sinks.contract import Record, SinkError


class Service:
    """A sink that does what the test tells it."""

    title = "Service"

    def __init__(self):
        self.up = True
        self.opened = 0
        self.records = []
        self.state = None
        self.moved = threading.Event()
        self.written = threading.Event()

    def open(self):
        self._answer()
        self.opened += 1

    def write(self, records):
        self._answer()
        self.records += records
        self.written.set()

    def close(self, state):
        self._answer()
        self.state = state

    def _answer(self):
        up = self.up  # before the test hears of it, and changes that
        self.moved.set()
        if not up:
            raise SinkError("connection refused.")


class Stuck(Service):
    """A sink that does not answer until the test lets it."""

    def __init__(self):
        super().__init__()
        self.freed = threading.Event()

    def write(self, records):
        self.moved.set()
        assert self.freed.wait(60)


def record(step):
    return Record(step=step, values={"loss": 1.0}, when=0.0)


@pytest.fixture
def warnings():
    return []


def test_reports_arrive_in_order_and_the_end_after_them(warnings):
    service = Service()
    channel = Channel(service, warnings.append)
    for step in range(100):
        channel.put(record(step))
    channel.finish("succeeded")
    channel.wait(60)
    assert [one.step for one in service.records] == list(range(100))
    assert (service.opened, service.state, warnings) == (1, "succeeded", [])


def test_a_run_without_reports_is_closed_too(warnings):
    service = Service()
    channel = Channel(service, warnings.append)
    channel.finish("failed")
    channel.wait(60)
    assert service.state == "failed"


def test_a_service_that_is_down_gets_one_warning_and_everything_when_it_is_back(warnings):
    service = Service()
    service.up = False
    channel = Channel(service, warnings.append, retry=0.001)
    channel.put(record(1))
    assert service.moved.wait(60)
    channel.put(record(2))
    service.up = True
    assert service.written.wait(60)
    channel.finish("succeeded")
    channel.wait(60)
    assert [one.step for one in service.records] == [1, 2]
    assert warnings == [
        "no reports to Service: connection refused. Training goes on; metrics.jsonl has everything",
    ]


def test_the_end_of_a_run_does_not_wait_for_a_service_that_is_down(warnings):
    service = Service()
    service.up = False
    channel = Channel(service, warnings.append, retry=3600)
    channel.put(record(1))
    channel.finish("succeeded")
    channel.wait(60)
    assert len(warnings) == 1


def test_a_service_that_does_not_answer_holds_nobody_up(warnings):
    service = Stuck()
    channel = Channel(service, warnings.append)
    channel.put(record(1))
    assert service.moved.wait(60)
    channel.put(record(2))
    channel.finish("succeeded")
    channel.wait(0.01)
    assert warnings == ["Service did not take the last reports in time; metrics.jsonl has them"]
    service.freed.set()


def test_a_report_becomes_a_record_of_its_step(warnings):
    service = Service()
    sinks = Sinks([Channel(service, warnings.append)])
    sinks.record({"step": 7, "loss": 2.5, "lr": 1e-4})
    sinks.close("interrupted")
    (only,) = service.records
    assert (only.step, only.values) == (7, {"loss": 2.5, "lr": 1e-4})
    assert service.state == "interrupted"

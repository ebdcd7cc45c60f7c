"""Which workloads a list shows, whatever the server can filter."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from primus.errors import UsageError
from primus.launch.k8s.listing import Filters, parse_time, select
from primus.launch.k8s.rows import WorkloadRow

ROWS = [
    WorkloadRow(id="b", name="b", phase="Running", user="ann", created="2026-01-02T00:00:00", gpus=8),
    WorkloadRow(id="a", name="a", phase="Failed", user="bob", created="2026-01-03T00:00:00Z", gpus=16),
    WorkloadRow(id="c", name="c", phase="Pending", user="Ann", created=""),
]


def shown(**filters):
    return "".join(row.id for row in select(ROWS, lambda row: row, Filters(**filters)))


def test_the_newest_comes_first():
    assert shown() == "abc"


def test_another_order_goes_upward_unless_it_is_said():
    assert shown(sort_by="id") == "abc"
    assert shown(sort_by="gpus") == "cba"
    assert shown(sort_by="gpus", order="desc") == "abc"
    assert shown(order="asc") == "cba"


def test_a_part_of_the_users_name_is_enough():
    assert shown(user="an") == "bc"


def test_several_phases_may_be_asked_for():
    assert shown(phase="Running,Failed") == "ab"
    with pytest.raises(UsageError, match="--phase running: expected some of Pending, Running"):
        shown(phase="running")


def test_times_with_and_without_a_zone_are_compared():
    assert shown(since=parse_time("2026-01-03T01:00:00+02:00", "--since")) == "a"
    assert shown(until=parse_time("2026-01-02", "--until")) == "b"


@pytest.mark.parametrize(
    "text", ["2026-01-31", "2026-01-31T00:00:00", "2026-01-31T00:00:00Z", "2026-01-31T01:00+01:00"]
)
def test_a_time_without_a_zone_is_utc_as_the_servers_own(text):
    assert parse_time(text, "--since") == datetime(2026, 1, 31, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "12:00"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="--since"):
        parse_time(text, "--since")

"""The client against a server over real HTTP, of both generations and with everything that goes wrong on the way."""

from __future__ import annotations

import pytest
from safe_server import NEW, OLD, Fault, SafeServer, serving

from primus.errors import ServiceError, UsageError
from primus.launch.k8s.http import Http, NotFoundError
from primus.launch.k8s.safe.access import Access
from primus.launch.k8s.safe.answers import node_row, workload_row
from primus.launch.k8s.safe.client import Safe
from primus.launch.k8s.safe.follow import follow, new_lines

SPACE = "primus-safe-pretrain"


@pytest.fixture(params=[OLD, NEW])
def server(request):
    with serving(SafeServer(request.param)) as state:
        yield state


@pytest.fixture
def newest():
    with serving(SafeServer(NEW)) as state:
        yield state


def client(server, *, token="ak-right", waits=None):
    sleep = (lambda seconds: None) if waits is None else waits.append
    return Safe(Http(Access(url=server.url, token=token).endpoint(), sleep=sleep))


def created(server):
    return [each for each in server.requests if each[0] == "POST /workloads"]


def test_both_generations_accept_the_same_request(server, workload):
    safe = client(server)
    id = safe.create(workload(replicas=2), SPACE)["workloadId"]

    row = workload_row(safe.get(id))

    assert (row.id, row.phase, row.replicas, row.gpus, row.workspace) == (id, "Pending", 2, 16, SPACE)
    assert row.created


def test_nodes_read_alike_from_both(server):
    rows = [node_row(item) for item in client(server).nodes({})["items"]]

    assert [row.name for row in rows] == [f"node-{number}" for number in range(4)]
    assert {(row.gpus, row.free_gpus, row.cluster, row.workspace) for row in rows} == {(8, 8, "c1", "w1")}


def test_an_answer_that_is_lost_does_not_create_twice(newest, workload):
    newest.faults.append(Fault("POST /workloads", close=True, after=True))

    id = client(newest).create(workload(), SPACE)["workloadId"]

    assert list(newest.workloads) == [id]


def test_a_list_that_lags_behind_is_looked_at_again_before_another_try(newest, workload):
    newest.faults.append(Fault("POST /workloads", status=504, after=True))
    newest.lag = 2

    id = client(newest).create(workload(), SPACE)["workloadId"]

    assert list(newest.workloads) == [id]


def test_an_answer_without_an_id_is_not_taken_for_a_workload(newest, workload):
    newest.faults.append(Fault("POST /workloads", status=200, body=b"{}"))

    with pytest.raises(ServiceError, match="the answer has no workloadId"):
        client(newest).create(workload(), SPACE)


def test_a_server_that_wants_https_says_so(newest):
    newest.faults.append(Fault(".*", status=301, headers={"Location": "https://127.0.0.1/api/v1/workspaces?x=1"}))

    with pytest.raises(ServiceError, match="this server wants https"):
        client(newest).workspaces()


def test_a_request_that_was_lost_on_the_way_is_made_again(newest, workload):
    newest.faults.append(Fault("POST /workloads", status=502, body=b"<html>Bad gateway"))

    id = client(newest).create(workload(), SPACE)["workloadId"]

    assert list(newest.workloads) == [id]


def test_somebody_elses_workload_is_not_taken_for_ours(newest, workload):
    client(newest).create(workload(request="ffffffffffff"), SPACE)
    newest.faults.append(Fault("POST /workloads", status=504))

    id = client(newest).create(workload(), SPACE)["workloadId"]

    assert len(newest.workloads) == 2
    assert newest.workloads[id]["description"].endswith("[primus 0123456789ab]")


def test_a_used_up_quota_is_not_tried_again(newest, workload):
    with pytest.raises(ServiceError, match=r"Primus\.00008: insufficient quota \(the workspace's quota is used up"):
        client(newest).create(workload(replicas=200), SPACE)

    assert len(created(newest)) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again_with_growing_pauses(status, newest):
    newest.faults.append(Fault("GET /workspaces", status=status, times=3))
    waits: list[float] = []

    assert client(newest, waits=waits).workspaces()["totalCount"] == 1
    assert waits == sorted(waits)
    assert len(waits) == 3


def test_the_server_says_how_long_to_wait(newest):
    newest.faults.append(Fault("GET /workspaces", status=429, headers={"Retry-After": "7"}))
    waits: list[float] = []

    client(newest, waits=waits).workspaces()

    assert waits == [7]


def test_it_does_not_try_for_ever(newest):
    newest.faults.append(Fault("GET /workspaces", status=500, times=99))

    with pytest.raises(ServiceError, match=r"500 Internal Server Error \(tried 5 times\)"):
        client(newest).workspaces()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(".*", status=401, body=b'{"errorCode": "Primus.00011", "errorMessage": "expired"}'), "log in again"),
        (Fault(".*", status=403, body=b'{"errorCode": "Primus.00003", "errorMessage": "no"}'), "your account may not"),
        (
            Fault(".*", status=409, body=b'{"errorCode": "Primus.00012", "errorMessage": "done"}'),
            "409 Primus.00012: done",
        ),
        (Fault(".*", status=413), "too large"),
        (Fault(".*", status=302, headers={"Location": "https://login.example.com/?token=abc"}), "login page"),
        (Fault(".*", status=200, body=b"<html>Please log in"), "no Primus-SaFE server"),
        (Fault(".*", status=200, body=b'{"items": [', times=9), "the answer ends in the middle"),
        (Fault(".*", status=200, body=b"[]"), "this is no Primus-SaFE server"),
        (Fault(".*", status=200, body=b'{"status": "ok"}'), "the answer has no totalCount or items"),
        (Fault(".*", status=200, body=b'{"items": "none"}'), "none of objects"),
        (Fault(".*", status=200, body=b""), "this is no Primus-SaFE server"),
    ],
)
def test_what_a_server_says_is_read(fault, message, newest):
    newest.faults.append(fault)

    with pytest.raises(ServiceError, match=message) as error:
        client(newest).workspaces()
    assert "abc" not in str(error.value)


def test_a_server_that_is_not_there_is_said(tmp_path):
    safe = Safe(Http(Access(url="http://127.0.0.1:9").endpoint(), sleep=lambda seconds: None))

    with pytest.raises(ServiceError, match=r"no connection: .*refused"):
        safe.workspaces()


def test_a_slow_answer_is_not_waited_for_for_ever(newest):
    newest.faults.append(Fault("GET /workspaces", status=200, body=b"{}", delay=2, times=9))
    endpoint = Access(url=newest.url, token="ak-right", timeout=0.05).endpoint()

    with pytest.raises(ServiceError, match="no answer"):
        Safe(Http(endpoint, sleep=lambda seconds: None)).workspaces()


def test_without_a_key_the_newest_server_wants_to_know_who_asks(newest):
    with pytest.raises(ServiceError, match=r"401 Primus\.00009"):
        client(newest, token=None).workspaces()


def test_all_pages_are_read_and_each_workload_comes_once(newest):
    for number in range(250):
        newest.workloads[f"w-{number:03}"] = {
            "workloadId": f"w-{number:03}", "creationTime": f"{number:03}", "workspaceId": SPACE, "description": "",
            "phase": "Running", "userName": "ann",
        }  # fmt: skip

    found = client(newest).workloads({"workspaceId": SPACE})

    assert [each["workloadId"] for each in found] == [f"w-{number:03}" for number in reversed(range(250))]


def test_an_empty_list_of_june_2025_has_no_items():
    with serving(SafeServer(OLD)) as state:
        assert client(state).workloads({}) == []


def test_deleting_what_is_not_there_is_an_error_though_the_server_says_yes(server):
    with pytest.raises(NotFoundError, match="there is no such workload"):
        client(server).delete("never-00001")

    assert not [each for each in server.requests if each[0].startswith("DELETE")]


def test_a_name_can_not_lead_elsewhere_in_the_api(newest):
    with pytest.raises(UsageError):
        client(newest).get("a/../../nodes")

    assert not newest.requests


def test_a_node_that_is_not_there_gets_its_nearest_name(newest, workload):
    with pytest.raises(UsageError, match=r"there is no node node-7\. Did you mean node-"):
        client(newest).create(workload(nodes=("node-7",)), SPACE)

    assert not created(newest)


def test_june_2025_can_not_pin_two_nodes(workload):
    with serving(SafeServer(OLD)) as state, pytest.raises(UsageError, match="one node only"):
        client(state).create(workload(replicas=2, nodes=("node-0", "node-1")), SPACE)


def test_the_time_limit_is_sent_in_the_servers_own_unit(server, workload):
    client(server).create(workload(timeout=7200), SPACE)

    assert created(server)[0][2]["timeout"] == (2 if server.generation == OLD else 7200)


def test_where_no_node_may_be_seen_the_server_judges_and_counts_in_seconds(newest, workload):
    newest.faults.append(Fault("GET /nodes", status=403, body=b'{"errorCode": "Primus.00003"}'))

    client(newest).create(workload(timeout=7200, nodes=("node-0",)), SPACE)

    assert created(newest)[0][2]["timeout"] == 7200


def test_a_server_without_nodes_is_told_by_its_workloads(server, workload):
    server.nodes.clear()
    client(server).create(workload(), SPACE)

    client(server).create(workload(timeout=7200), SPACE)

    assert created(server)[1][2]["timeout"] == (2 if server.generation == OLD else 7200)


def test_a_pod_that_has_not_started_does_not_end_a_followed_log(tmp_path, workload):
    with serving(SafeServer(NEW, execute=tmp_path)) as state:
        safe = client(state)
        id = safe.create(workload(folder="/nowhere", replicas=2), SPACE)["workloadId"]
        state.workloads[id]["pods"][1]["phase"] = "Pending"
        seen = []

        follow(safe, id, None, lines=10, show=lambda pod, line: seen.append(pod), interval=0.01)

    assert set(seen) == {f"{id}-0"}


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], ["a"], ["a"]),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b"], ["b", "c"], ["c"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a"], ["x", "y"], ["x", "y"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], [], []),
    ],
)
def test_what_is_new_in_a_tail(before, now, new):
    assert new_lines(before, now) == new

"""Several launchers become one job: here as threads that talk over real sockets."""

from __future__ import annotations

import json
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from primus.errors import ExperimentError, MissingError, Origin, PrimusError, Problem, ServiceError, UsageError
from primus.job import Resources
from primus.launch import arrivals, gather, introduction, rendezvous
from primus.launch.attempt import Agreed
from primus.launch.introduction import Node
from primus.launch.link import LOST
from primus.launch.rendezvous import agree, refusal_told


@pytest.fixture
def port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


LEFT = b'{"rank": 1, "nnodes": 3, "nproc_per_node": 1, "host": "a", "digest": "same"}\n'
"""A node that reports, and is stopped then."""

REFUSING = {
    "rank": 2, "nnodes": 3, "nproc_per_node": 1, "host": "b", "digest": "", "refusal": "/data is not here", "status": 4
}  # fmt: skip
"""What a node reports that can't begin."""


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """However long a node takes to come and to speak."""
    for module in (gather, rendezvous):
        monkeypatch.setattr(module, "REFUSAL", 60.0)
    for module in (arrivals, gather, rendezvous):
        monkeypatch.setattr(module, "PATIENCE", 60.0)


@pytest.fixture
def time_is_up(monkeypatch):
    """Lets so many seconds pass as soon as so many nodes have spoken to node 0."""

    def when(seconds, spoken):
        nodes, read = [], arrivals.read_node

        def count(line):
            nodes.append(read(line))
            return nodes[-1]

        monkeypatch.setattr(arrivals, "read_node", count)
        clock(monkeypatch, monotonic=lambda: time.monotonic() + (seconds if len(nodes) >= spoken else 0.0))

    return when


def clock(monkeypatch, **functions):
    """Let node 0, and nobody else, see another time."""
    real = {"monotonic": time.monotonic, "time": time.time}
    for module in (arrivals, gather):
        monkeypatch.setattr(module, "time", SimpleNamespace(**real | functions))


links = []
"""The connections of the nodes of a test; they stay as long as it goes on."""


@pytest.fixture(autouse=True)
def close_links():
    yield
    while links:
        links.pop().close()


def node(rank, port, *, nnodes=2, digest="same", nproc=1, timeout=30.0, incomplete=False):
    resources = Resources(
        nnodes=nnodes, node_rank=rank, nproc_per_node=nproc, master_addr="127.0.0.1", master_port=port
    )
    try:
        decide = lambda: Agreed(run_id=f"run-of-{rank}", attempt=rank + 3)  # noqa: E731
        agreed, link = agree(resources, digest=digest, decide=decide, timeout=timeout, incomplete=incomplete)
        links.append(link)
        return agreed
    except PrimusError as error:
        return error


def meet(*nodes):
    """What agree() returned or raised for each node; `nodes` are the arguments of node()."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        futures = [pool.submit(node, *arguments, **options) for arguments, options in nodes]
        return [future.result() for future in futures]


def test_all_nodes_take_the_run_directory_of_node_0(port):
    nodes = [((rank, port), {"nnodes": 3}) for rank in (2, 0, 1)]
    assert meet(*nodes) == [Agreed(run_id="run-of-0", attempt=3)] * 3


def test_the_port_is_free_again_afterwards(port):
    meet(((0, port), {}), ((1, port), {}))
    with socket.create_server(("", port)):
        pass


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"digest": "other"}, "would train different things"),
        ({"nproc": 2}, "has 1 processes, but .* 2; every node needs as many"),
        ({"nnodes": 3}, "was given --nnodes 2, but .* --nnodes 3"),
    ],
)
def test_nodes_that_differ_are_told_so_on_both_sides(port, other, said):
    for answer in meet(((0, port), {}), ((1, port), other)):
        assert isinstance(answer, UsageError)
        with pytest.raises(UsageError, match=said):
            raise answer


@pytest.mark.parametrize(("seconds", "words"), [(60, "is 60 s ahead of"), (-60, "is 60 s behind")])
def test_clocks_that_are_apart_are_a_warning(port, capsys, monkeypatch, seconds, words):
    def shifted(me, **changes):
        return replace(me, clock=changes["clock"] + seconds)

    monkeypatch.setattr(introduction, "replace", shifted)
    monkeypatch.setattr(introduction, "time", SimpleNamespace(time=lambda: 1000.0))
    clock(monkeypatch, time=lambda: 1000.0)
    meet(((0, port), {}), ((1, port), {}))
    assert words in capsys.readouterr().err


def test_clocks_that_agree_are_not_mentioned(port, capsys):
    meet(((0, port), {}), ((1, port), {}))
    assert "clock" not in capsys.readouterr().err


def test_two_nodes_of_the_same_rank_are_named(port):
    answers = meet(((0, port), {"nnodes": 3}), ((1, port), {"nnodes": 3}), ((1, port), {"nnodes": 3}))
    assert all("two nodes have --node-rank 1" in str(answer) for answer in answers)


def test_a_node_that_never_comes_is_named(port):
    answer = node(0, port, nnodes=4, timeout=0.2)
    assert isinstance(answer, ServiceError)
    assert "node 1, 2, 3 did not come" in str(answer)


def test_those_that_come_go_on_without_the_others_where_that_will_do(port, time_is_up):
    time_is_up(30.0, spoken=1)
    answers = meet(*(((rank, port), {"nnodes": 3, "timeout": 30.0, "incomplete": True}) for rank in (0, 1)))
    assert answers == [Agreed(run_id="run-of-0", attempt=3)] * 2
    assert sorted(map(sorted, (link.nodes for link in links))) == [[0], [1]]


def test_a_node_0_that_is_not_there_is_said(port):
    answer = node(1, port, timeout=0.2)
    assert isinstance(answer, ServiceError)
    assert f"node 0 can't be reached at 127.0.0.1:{port}" in str(answer)


def test_strangers_at_the_port_do_not_disturb(port):
    with ThreadPoolExecutor(2) as pool:
        master = pool.submit(node, 0, port)
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"", b"{}\n"):
            with connect(port) as stranger:
                stranger.sendall(words)
        assert pool.submit(node, 1, port).result().run_id == "run-of-0"
        assert master.result().run_id == "run-of-0"


@pytest.mark.parametrize("words", [b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"[1]\n", b'{"answer": 1}\n'])
def test_a_stranger_in_the_place_of_node_0_is_said(port, words):
    with socket.create_server(("127.0.0.1", port)) as stranger, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(node, 1, port)
        with stranger.accept()[0] as connection:
            connection.sendall(words)
        assert isinstance(answer.result(), ServiceError)
        assert f"what answers at 127.0.0.1:{port} is not `primus train` on node 0" in str(answer.result())


def test_a_node_that_was_started_again_while_others_were_waited_for_counts_once(port):
    with ThreadPoolExecutor(3) as pool:
        master = pool.submit(node, 0, port, nnodes=3)
        with connect(port) as stopped:
            stopped.sendall(LEFT)
        others = [pool.submit(node, rank, port, nnodes=3) for rank in (1, 2)]
        assert [each.result() for each in (master, *others)] == [Agreed(run_id="run-of-0", attempt=3)] * 3


def test_a_node_that_has_gone_is_waited_for_again(port):
    with ThreadPoolExecutor(2) as pool:
        master = pool.submit(node, 0, port, nnodes=3)
        with connect(port) as stopped:
            stopped.sendall(LEFT)
        second = pool.submit(node, 2, port, nnodes=3, timeout=30.0)
        first = node(1, port, nnodes=3)
        assert [master.result(), first, second.result()] == [Agreed(run_id="run-of-0", attempt=3)] * 3


def test_a_node_0_that_only_tries_its_port_is_asked_again(port):
    with ThreadPoolExecutor(1) as pool:
        with socket.create_server(("", port)) as trying:
            other = pool.submit(node, 1, port)
            trying.accept()[0].close()
        assert node(0, port) == other.result() == Agreed(run_id="run-of-0", attempt=3)


def test_a_node_0_that_goes_while_others_come_is_told(port, monkeypatch):
    monkeypatch.setattr(rendezvous, "REFUSAL", 0.1)
    with ThreadPoolExecutor(1) as pool:
        with socket.create_server(("", port)) as going:
            other = pool.submit(node, 1, port)
            going.accept()[0].close()
        assert isinstance(other.result(), ServiceError)
        assert "went away before all nodes had come" in str(other.result())


def connect(port):
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except ConnectionRefusedError:
            continue


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_node_0_is_reached_over_ipv6_as_well(port):
    with ThreadPoolExecutor(2) as pool:
        master = pool.submit(node, 0, port)
        over_ipv6 = Resources(nnodes=2, node_rank=1, master_addr="::1", master_port=port)
        agreed, link = agree(over_ipv6, digest="same", decide=lambda: Agreed(run_id=""), timeout=30.0)
        link.close()
        assert agreed == master.result() == Agreed(run_id="run-of-0", attempt=3)


def test_a_node_0_that_cannot_begin_tells_the_others_why(port):
    first = Resources(nnodes=2, node_rank=0, master_addr="127.0.0.1", master_port=port)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(node, 1, port)
        with pytest.raises(MissingError, match=r"^no such thing$"), refusal_told(first):
            raise MissingError("no such thing")
        answer = other.result()
    assert isinstance(answer, MissingError)
    assert str(answer) == "node 0 can't begin: no such thing"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_reason_of_any_length_is_told(port, rank):
    refusing = Resources(nnodes=2, node_rank=rank, nproc_per_node=1, master_addr="127.0.0.1", master_port=port)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(node, 1 - rank, port)
        with pytest.raises(MissingError), refusal_told(refusing):
            raise MissingError("nö such thing\n" * 10_000)
        assert isinstance(other.result(), MissingError)
        assert "can't begin: nö such thing\nnö such" in str(other.result())


def test_a_node_that_cannot_begin_tells_node_0_and_so_all_why(port):
    def refuse():
        last = Resources(nnodes=3, node_rank=2, nproc_per_node=1, master_addr="127.0.0.1", master_port=port)
        with pytest.raises(MissingError, match=r"^/data is not here$"), refusal_told(last):
            raise MissingError("/data is not here")

    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(node, rank, port, nnodes=3) for rank in (0, 1)]
        pool.submit(refuse).result()
        for other in others:
            assert isinstance(other.result(), MissingError)
            assert f"node 2 ({socket.gethostname()}) can't begin: /data is not here" in str(other.result())


def test_a_wrong_experiment_on_one_node_is_one_for_all(port):
    """Also with its exit status."""
    refusing = Resources(nnodes=2, node_rank=1, master_addr="127.0.0.1", master_port=port)
    problem = Problem(where=Origin(kind="file", name="x.yaml", line=3), key="lr", message="is not a number")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(node, 0, port)
        with pytest.raises(ExperimentError), refusal_told(refusing):
            raise ExperimentError([problem])
    assert isinstance(first.result(), ExperimentError)
    assert str(first.result()) == f"node 1 ({socket.gethostname()}) can't begin: x.yaml:3: lr: is not a number"


def test_a_node_0_that_only_tries_its_port_hears_a_refusal_afterwards(port):
    refusing = Resources(nnodes=2, node_rank=1, master_addr="127.0.0.1", master_port=port)

    def refuse():
        with pytest.raises(MissingError), refusal_told(refusing):
            raise MissingError("no such thing")

    with ThreadPoolExecutor(1) as pool:
        with socket.create_server(("", port)) as trying:
            other = pool.submit(refuse)
            trying.accept()[0].close()
        assert "no such thing" in str(node(0, port))
        other.result()


def test_a_node_that_comes_after_another_could_not_begin_hears_of_it_too(port):
    """Without that it would wait for a node 0 that has gone."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(node, 0, port, nnodes=3)
        with connect(port) as last:
            last.sendall(json.dumps(REFUSING).encode() + b"\n")
            while last.recv(100):  # told, and closed by node 0
                pass
        with connect(port):  # a stranger is not one of the nodes
            pass
        late = node(1, port, nnodes=3)
        for answer in (first.result(), late):
            assert isinstance(answer, MissingError)
            assert str(answer) == "node 2 (b) can't begin: /data is not here"


def test_one_that_cannot_begin_is_gone_on_without_where_that_will_do(port, capsys, time_is_up):
    def refuse():
        last = Resources(nnodes=3, node_rank=2, nproc_per_node=1, master_addr="127.0.0.1", master_port=port)
        with pytest.raises(MissingError), refusal_told(last):
            raise MissingError("/data is not here")

    time_is_up(30.0, spoken=2)
    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(node, rank, port, nnodes=3, timeout=30.0, incomplete=True) for rank in (0, 1)]
        pool.submit(refuse).result()
        assert [other.result().run_id for other in others] == ["run-of-0"] * 2
    assert "can't begin: /data is not here" in capsys.readouterr().err


def test_a_node_0_that_began_to_wait_later_has_its_own_time(port):
    """Else the others would give up just before it can say whom it has waited for."""
    with socket.create_server(("", port)) as later, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(node, 1, port, timeout=0.2)
        with later.accept()[0] as connection:
            time.sleep(1.2)
            connection.sendall(json.dumps({"error": "node 2 did not come", "status": 5}).encode() + b"\n")
            assert str(answer.result()) == "node 2 did not come"


def test_a_node_0_that_never_answers_is_said(port, monkeypatch):
    monkeypatch.setattr(rendezvous, "PATIENCE", 0.1)
    with socket.create_server(("", port)):
        answer = node(1, port, timeout=0.4)
    assert isinstance(answer, ServiceError)
    assert str(answer).startswith(f"node 0 at 127.0.0.1:{port} did not say within 0 s that all nodes have come")


def test_the_others_hear_which_node_did_not_come(port, time_is_up):
    time_is_up(30.0, spoken=1)
    answers = meet(((0, port), {"nnodes": 3, "timeout": 30.0}), ((1, port), {"nnodes": 3, "timeout": 120.0}))
    assert all(isinstance(answer, ServiceError) for answer in answers)
    assert all("node 2 did not come" in str(answer) for answer in answers)


def test_a_node_that_was_told_to_begin_is_left_when_another_one_goes_away_meanwhile(port, monkeypatch):
    """A second answer would be no message that its launcher knows."""

    def decide():
        last.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a firewall, or a crash
        last.close()
        return Agreed(run_id="run")

    arrived, read = [], arrivals.read_node

    def note(line):
        arrived.append(read(line))
        return arrived[-1]

    monkeypatch.setattr(arrivals, "read_node", note)
    resources = Resources(nnodes=3, node_rank=0, nproc_per_node=1, master_addr="127.0.0.1", master_port=port)
    with ThreadPoolExecutor(2) as pool:
        master = pool.submit(agree, resources, digest="same", decide=decide, timeout=60.0)
        first = pool.submit(agree, replace(resources, node_rank=1), digest="same", decide=decide, timeout=60.0)
        while not arrived:
            time.sleep(0.01)
        with connect(port) as last:
            node = Node(rank=2, nnodes=3, nproc_per_node=1, host="b", digest="same", clock=time.time())
            last.sendall(json.dumps(asdict(node)).encode() + b"\n")
            with pytest.raises(ServiceError, match=r"^node 2 \(b\) went away"):
                master.result()
        link = first.result()[1]
        assert [message.kind for message in link.receive(60.0)] == [LOST]
        link.close()

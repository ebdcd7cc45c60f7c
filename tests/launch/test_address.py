"""The address of node 0, checked before anybody waits there."""

from __future__ import annotations

import errno
import socket

import pytest

from primus.errors import MissingError, UsageError
from primus.job import Resources
from primus.launch.address import check_address


@pytest.fixture
def port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def resources(address, port, nnodes=2, rank=0):
    return Resources(nnodes=nnodes, node_rank=rank, master_addr=address, master_port=port)


def test_a_name_without_address_is_refused_at_once(port):
    with pytest.raises(MissingError, match=r"no-such-host.invalid: this name has no address here"):
        check_address(resources("no-such-host.invalid", port))


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "::1"])
def test_several_nodes_cannot_meet_on_the_loopback(address, port):
    with pytest.raises(UsageError, match="which is each node itself"):
        check_address(resources(address, port))


def test_several_nodes_on_one_machine_say_so_with_another_loopback_address(port):
    check_address(resources("127.0.0.2", port))


def test_a_single_node_may_meet_on_localhost(port):
    check_address(resources("localhost", port, nnodes=1))


def test_the_address_of_another_machine_is_refused_for_a_single_node(port):
    with pytest.raises(UsageError, match="not an address of this machine"):
        check_address(resources("192.0.2.1", port, nnodes=1))


def test_a_port_in_use_is_refused_on_the_node_that_needs_it():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(MissingError, match=f"--master-port {port}: another process of this machine uses it"):
            check_address(resources("127.0.0.2", port))
        check_address(resources("127.0.0.2", port, rank=1))


def test_the_numeric_address_of_node_0_is_returned(port):
    assert check_address(resources("127.0.0.2", port)) == "127.0.0.2"
    assert check_address(resources("localhost", port, nnodes=1)) in ("127.0.0.1", "::1")
    assert check_address(resources(None, None, nnodes=1)) is None


def test_node_0_must_be_where_its_address_leads(port, monkeypatch):
    monkeypatch.setattr("primus.launch.address._PATIENCE", 0.2)
    with pytest.raises(UsageError, match=r"not an address of this machine, which is node 0, .* is --node-rank right"):
        check_address(resources("192.0.2.1", port))


def test_a_foreign_address_that_is_forwarded_to_node_0_is_right(port, monkeypatch):
    monkeypatch.setattr("primus.launch.address._is_own", lambda address: False)
    check_address(resources("127.0.0.2", port))


def test_an_address_without_a_route_is_refused_at_once(port, monkeypatch):
    def connect(self, address):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(MissingError, match=r"this machine has no route to 192\.0\.2\.1"):
        check_address(resources("192.0.2.1", port, rank=1))

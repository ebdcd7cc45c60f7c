"""The address at which the launchers of several nodes meet, checked before anybody waits there. `primus train` and
rendezvous.py call it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import suppress

from primus.errors import MissingError, UsageError
from primus.job import Resources

_PATIENCE = 5.0
"""Seconds that a connection of this machine to itself may take."""


def check_address(resources: Resources) -> str | None:
    """The numeric address of node 0, or None where none was given. An error at once for an address or a port that can't
    serve as the meeting point."""
    address, port = resources.master_addr, resources.master_port
    found = [] if address is None else _resolve(address, port)
    if address is not None and resources.nnodes == 1:
        if not _is_own(found[0]):
            raise UsageError(f"--master-addr {address}: not an address of this machine, the only node")
    elif address is not None:
        _refuse_loopback(address, found)
    if port is not None and resources.node_rank == 0:
        with listen(port, backlog=1) as server:
            if address is not None and resources.nnodes > 1 and not any(map(_is_own, found)):
                _require_way_back(server, address, port)
    elif address is not None:
        _require_route(address, found)
    return found[0] if found else None


def listen(port: int, *, backlog: int) -> socket.socket:
    """A socket for the other nodes at this port; MissingError when it can't be had."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=both)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise MissingError(f"--master-port {port}: another process of this machine uses it; take another") from None
        if error.errno == errno.EACCES:
            raise MissingError(f"--master-port {port}: only root may use it; take one above 1023") from None
        raise


def _resolve(address: str, port: int | None) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)]
    except (socket.gaierror, UnicodeError) as error:
        raise MissingError(f"--master-addr {address}: this name has no address here ({error})") from None


def _refuse_loopback(address: str, found: list[str]) -> None:
    """Each node would wait for itself. A written-out 127.0.0.2 is taken at its word: all nodes on this machine."""
    loopback = [each for each in found if ipaddress.ip_address(each.partition("%")[0]).is_loopback]
    if loopback and (loopback[0] in ("127.0.0.1", "::1") or loopback[0] != address):
        raise UsageError(
            f"--master-addr {address} means {loopback[0]} here, which is each node itself; give node 0's address in "
            "the network between the nodes"
        )


def _is_own(address: str) -> bool:
    """Whether an address belongs to this machine: then a socket can be bound to it."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False
    return True


def _require_way_back(server: socket.socket, address: str, port: int) -> None:
    """A foreign address is right only when it is forwarded to this machine, as that of a Kubernetes service is."""
    server.settimeout(_PATIENCE)
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE):
            server.accept()[0].close()
    except OSError:
        raise UsageError(
            f"--master-addr {address}: not an address of this machine, which is node 0, and no connection to it "
            "arrives here; is --node-rank right?"
        ) from None


def _require_route(address: str, found: list[str]) -> None:
    """Connecting a datagram socket sends nothing, but fails where no route leads."""
    for each in found:
        with socket.socket(_family(each), socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect((each, 9))
            return
    raise MissingError(f"--master-addr {address}: this machine has no route to {found[0]}")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET

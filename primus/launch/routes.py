"""The network interface that leads from this node to another, from the kernel's routing tables. network.py calls it."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from primus.errors import UsageError

_BRIDGE = re.compile(r"(docker|virbr|podman|cni|lxcbr|lxdbr)\d+|br-[0-9a-f]{12}")
"""Bridges that container and virtual machine software makes: nothing outside this machine is behind them."""

_INNER = re.compile(rf"lo|veth.*|vnet\d+|{_BRIDGE.pattern}")
"""Interfaces that a default route of a node can't be meant to use."""

_UP, _REJECT = 0x1, 0x200

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A line of a routing table."""

    interface: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    metric: int


def find_interface(address: str | None, root: Path) -> tuple[str | None, str]:
    """The interface towards an address, else that of the default route, and why. Looks no name up."""
    target = _parse(address)
    if target is not None and target.is_loopback:
        return "lo", f"{address} is this machine, and so are all nodes"
    routes = [route for route in _routes(root) if _state(root, route.interface) != "down"]
    if target is not None:
        towards = [route for route in routes if target in route.network]
        if towards:
            best = min(towards, key=lambda route: (-route.network.prefixlen, route.metric))
            _refuse_bridge(best.interface, str(address))
            return best.interface, f"the route to {address}{_about(root, best.interface)}"
    defaults = [route for route in routes if not route.network.prefixlen and not _INNER.fullmatch(route.interface)]
    if not defaults:
        return None, "no route leads out of this machine"
    best = min(defaults, key=lambda route: (route.metric, route.network.version))
    later = f"; {address} is looked up when training starts" if address and target is None else ""
    return best.interface, f"the default route{_about(root, best.interface)}{later}"


def _parse(address: str | None) -> Address | None:
    try:
        return ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None


def _refuse_bridge(interface: str, address: str) -> None:
    if _BRIDGE.fullmatch(interface):
        raise UsageError(
            f"--master-addr {address} is reached through {interface}, which connects containers or virtual machines of "
            "this machine only; give node 0's address in the network between the nodes"
        )


def _routes(root: Path) -> Iterator[Route]:
    """Routes of both tables that lead somewhere. Those of this machine's own addresses point to `lo`."""
    for fields in _table(root / "proc/net/route"):
        if fields[0] == "Iface" or int(fields[3], 16) & (_UP | _REJECT) != _UP:
            continue
        mask = bin(int(fields[7], 16)).count("1")
        network = ipaddress.IPv4Network((struct.pack("=I", int(fields[1], 16)), mask))
        yield Route(interface=fields[0], network=network, metric=int(fields[6]))
    for fields in _table(root / "proc/net/ipv6_route"):
        if fields[9] == "lo" or int(fields[8], 16) & (_UP | _REJECT) != _UP:
            continue
        network6 = ipaddress.IPv6Network((bytes.fromhex(fields[0]), int(fields[1], 16)))
        yield Route(interface=fields[9], network=network6, metric=int(fields[5], 16))


def _table(path: Path) -> Iterator[list[str]]:
    """Its lines; none where the kernel was built without IPv4 or IPv6."""
    if path.exists():
        yield from (line.split() for line in path.read_text().splitlines())


def _state(root: Path, interface: str) -> str:
    path = root / "sys/class/net" / interface / "operstate"
    return path.read_text().strip() if path.exists() else "unknown"


def _about(root: Path, interface: str) -> str:
    """What an interface that stands for others is made of."""
    folder = root / "sys/class/net" / interface
    members = folder / "bonding/slaves"
    if members.exists():
        return f", a bond of {' and '.join(members.read_text().split())}"
    lower = [path.name.removeprefix("lower_") for path in folder.glob("lower_*")]
    uevent = folder / "uevent"
    if lower and uevent.exists() and "DEVTYPE=vlan" in uevent.read_text().split():
        return f", a VLAN on {lower[0]}"
    return ""

"""Interfaces, RDMA ports and names of a node, from what launching uses too. host.py calls it."""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from primus.doctor.host_system import read
from primus.errors import PrimusError
from primus.launch.devices import Accelerators
from primus.launch.network import find_network
from primus.launch.rdma import gid_indices, read_ports


def network_facts(accelerators: Accelerators, address: str | None, root: Path) -> dict[str, Any]:
    """Interfaces, RDMA ports, and what `primus train` would use of them."""
    facts: dict[str, Any] = {"interfaces": _interfaces(root), "ports": _ports(root)}
    try:
        return facts | {"chosen": asdict(find_network(address=address, accelerators=accelerators, root=root))}
    except PrimusError as error:
        return facts | {"refused": str(error)}


def name_facts(address: str | None) -> dict[str, Any]:
    """How this host's own name and node 0's resolve, and how long that takes."""
    facts = {"host": _lookup(socket.gethostname())}
    return facts if address is None else facts | {"node 0": _lookup(address)}


def _interfaces(root: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted((root / "sys/class/net").glob("*")):
        if path.name == "lo" or not path.is_dir():
            continue
        speed = read(path / "speed")
        facts: dict[str, Any] = {"name": path.name, "state": read(path / "operstate") or "unknown"}
        facts["mtu"] = int(read(path / "mtu") or 0)
        facts["speed_mb"] = int(speed) if speed.isdigit() else None
        for name in ("rx_errors", "tx_errors", "rx_dropped"):
            facts[name] = int(read(path / "statistics" / name) or 0)
        found.append(facts)
    return found


def _ports(root: Path) -> list[dict[str, Any]]:
    found = []
    for port in read_ports(root):
        device = root / "sys/class/infiniband" / port.device
        folder = device / "ports" / str(port.number)
        counters = {name: read(folder / "counters" / name) for name in ("link_downed", "symbol_error")}
        interfaces = sorted(path.name for path in (device / "device/net").glob("*"))
        found.append(
            {
                "name": port.name,
                "state": port.state,
                "physical": read(folder / "phys_state").partition(": ")[2],
                "link": port.link,
                "rate_gb": port.rate,
                "firmware": read(device / "fw_ver"),
                "hardware": port.pci is not None,
                "mtu": [int(read(root / "sys/class/net" / each / "mtu") or 0) for each in interfaces],
                "gids": sorted(gid_indices(root, port)) if port.link == "roce" else [],
                **{name: int(value) for name, value in counters.items() if value.isdigit()},
            }
        )
    return found


def _lookup(name: str) -> dict[str, Any]:
    begin = time.monotonic()
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None)})
    except (OSError, UnicodeError) as error:
        return {"name": name, "error": str(error), "seconds": round(time.monotonic() - begin, 3)}
    loopback = all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in addresses)
    seconds = round(time.monotonic() - begin, 3)
    return {"name": name, "addresses": addresses, "loopback": loopback, "seconds": seconds}

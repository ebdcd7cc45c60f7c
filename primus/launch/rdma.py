"""The RDMA ports of this machine as the kernel shows them under /sys/class/infiniband: state, speed, place on the PCI
bus, addresses. network.py calls it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Link = Literal["infiniband", "roce"]

_LINKS: dict[str, Link] = {"InfiniBand": "infiniband", "Ethernet": "roce"}
_ADAPTER = "1:"
"""How node_type begins for what NCCL_IB_HCA can name; iWARP and others are no InfiniBand verbs devices of NCCL's."""

_EMPTY_ENTRIES = 32
"""So many empty places in a row end a table of addresses; it has up to 256, and each is a read of two files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """A port of a host channel adapter."""

    device: str
    number: int
    state: str
    """`ACTIVE`, `DOWN`, `INIT` …"""

    link: Link
    rate: float
    """In Gb/s."""

    pci: tuple[str, str] | None
    """Host bridge and root port that it is behind; None for a device that is only software."""

    @property
    def name(self) -> str:
        return f"{self.device}:{self.number}"


def read_ports(root: Path) -> list[Port]:
    """Every InfiniBand and RoCE port, in the order of the devices' numbers."""
    devices = sorted((root / "sys/class/infiniband").glob("*"), key=_natural)
    ports = []
    for device in devices:
        if not _read(device / "node_type").startswith(_ADAPTER):
            continue
        for folder in sorted((device / "ports").glob("*"), key=_natural):
            link = _LINKS.get(_read(folder / "link_layer"))
            if link is not None:
                ports.append(_port(device, folder, link))
    return ports


def root_port(root: Path, address: str) -> tuple[str, str] | None:
    """Host bridge and root port of the device at a PCI address."""
    return _root_port(root / "sys/bus/pci/devices" / address)


def gid_indices(root: Path, port: Port) -> dict[int, int]:
    """Rank of each RoCE v2 address of a port that can be routed, by index: 0 for IPv4, which every fabric has, 1 for
    IPv6. Link-local addresses are left out."""
    folder = root / "sys/class/infiniband" / port.device / "ports" / str(port.number)
    found: dict[int, int] = {}
    empty = 0
    for path in sorted((folder / "gids").glob("*"), key=_natural):
        gid = ipaddress.IPv6Address(_read(path) or "::")
        empty = 0 if gid.packed.strip(b"\0") else empty + 1
        if empty > _EMPTY_ENTRIES:
            break
        address = gid.ipv4_mapped or gid
        if not empty and not address.is_link_local and _read(folder / "gid_attrs/types" / path.name) == "RoCE v2":
            found[int(path.name)] = 1 if gid.ipv4_mapped is None else 0
    return found


def _port(device: Path, folder: Path, link: Link) -> Port:
    rate = re.match(r"[\d.]+", _read(folder / "rate"))
    return Port(
        device=device.name,
        number=int(folder.name),
        state=_read(folder / "state").partition(": ")[2],
        link=link,
        rate=float(rate[0]) if rate else 0.0,
        pci=_root_port(device / "device"),
    )


def _root_port(device: Path) -> tuple[str, str] | None:
    if not device.is_symlink():
        return None
    parts = device.resolve().parts
    bridge = next((index for index, part in enumerate(parts) if re.fullmatch(r"pci[0-9a-f]+:[0-9a-f]+", part)), None)
    return None if bridge is None or bridge + 1 >= len(parts) else (parts[bridge], parts[bridge + 1])


def _natural(path: Path) -> tuple[str | int, ...]:
    """mlx5_2 before mlx5_10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name))


def _read(path: Path) -> str:
    """A file's text; empty where the driver refuses it, as for entries of a table that are not in use."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""

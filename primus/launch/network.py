"""How this node reaches the others: the interface for sockets, and the RDMA ports of the training fabric with the index
of their addresses. `primus train` calls find_network() for several nodes; environment.py makes variables of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from primus.errors import MissingError
from primus.job import Network
from primus.launch.devices import Accelerators
from primus.launch.rdma import Port, gid_indices, read_ports, root_port
from primus.launch.routes import find_interface


def find_network(*, address: str | None, accelerators: Accelerators, root: Path = Path("/")) -> Network:
    """Facts of this node. `address` is node 0's, or None; `root` is the file system's root."""
    interface, route = find_interface(address, root)
    if accelerators.kind == "cpu":
        return Network(interface=interface, route=route, fabric="for GPUs only")
    fabric = _find_fabric(read_ports(root), accelerators, root)
    index, gid = _find_gid_index(fabric, root)
    link = fabric.ports[0].link if fabric.ports else None
    return Network(
        interface=interface,
        route=route,
        link=link,
        ports=tuple(port.name for port in fabric.ports),
        fabric=fabric.why,
        gid_index=index,
        gid=gid,
        warnings=tuple(fabric.warnings),
    )


_CHOICES = {
    "GLOO_SOCKET_IFNAME": ("sys/class/net", "network interface"),
    "NCCL_SOCKET_IFNAME": ("sys/class/net", "network interface"),
    "NCCL_IB_HCA": ("sys/class/infiniband", "RDMA device"),
}
"""Variables by which a user chooses from what the kernel lists in a folder."""


def check_choices(environ: Mapping[str, str], accelerators: Accelerators, root: Path = Path("/")) -> None:
    """An error for a choice of the user's that fits nothing here, which NCCL and Gloo would report from every rank."""
    for variable, (folder, what) in _CHOICES.items():
        if accelerators.kind == "cpu" and variable.startswith("NCCL"):  # not read there
            continue
        value = environ.get(variable, "")
        exact = variable.startswith("GLOO") or value.startswith("=")
        wanted = [name for entry in value.lstrip("=").split(",") if (name := entry.partition(":")[0])]
        present = sorted(path.name for path in (root / folder).glob("*"))
        fits = any(name == wish or (not exact and name.startswith(wish)) for name in present for wish in wanted)
        if wanted and not value.startswith("^") and not fits:  # ^ leaves out what it names
            has = f"it has {', '.join(present)}" if present else "it has none"
            raise MissingError(
                f"{variable}={value}: this machine has no such {what}; {has}. Without the variable Primus chooses one."
            )


@dataclass(slots=True)
class _Fabric:
    """The ports that are left while rules take others out."""

    ports: list[Port]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Names of ports by the reason."""

    warnings: list[str] = field(default_factory=list)

    def keep(self, kept: Collection[Port], reason: str) -> None:
        """Go on with these only; the others are left out for the reason, where `{state}` is the port's own."""
        for port in self.ports:
            if port not in kept:
                self.left_out.setdefault(reason.format(state=port.state or "no state"), []).append(port.name)
        self.ports = [port for port in self.ports if port in kept]

    @property
    def why(self) -> str:
        """For the user."""
        left = [f"{', '.join(names)} ({reason})" for reason, names in self.left_out.items()]
        suffix = f"; left out: {', '.join(left)}" if left else ""
        if not self.ports:
            return f"no active RDMA port{suffix}"
        kinds = sorted({_kind(port) for port in self.ports})
        return f"{len(self.ports)} active port{'s' * (len(self.ports) > 1)}, {' and '.join(kinds)}{suffix}"


def _kind(port: Port) -> str:
    return f"{'InfiniBand' if port.link == 'infiniband' else 'RoCE'} at {port.rate:g} Gb/s"


def _find_fabric(ports: list[Port], accelerators: Accelerators, root: Path) -> _Fabric:
    """The ports of the training fabric: active ones of hardware, of the kind that has the most bandwidth in all, and of
    those the ones that share a root port of the PCI bus with a GPU, when every GPU has one."""
    fabric = _Fabric(ports=ports)
    fabric.keep([port for port in ports if port.pci], "made by software")
    fabric.keep([port for port in fabric.ports if port.state == "ACTIVE"], "{state}")
    _keep_fastest(fabric)
    _keep_near(fabric, {place for gpu in accelerators.addresses if (place := root_port(root, gpu))})
    gpus = len(accelerators.addresses) or accelerators.count
    kinds = {_kind(port) for port in fabric.ports}
    if len(kinds) > 1 or (len(fabric.ports) > gpus and len(fabric.ports) % gpus):
        names = ", ".join(port.name for port in fabric.ports)
        fabric.warnings.append(
            f"can't tell which RDMA ports are the training fabric's and which are for storage; uses all: {names}. Set "
            "NCCL_IB_HCA to choose."
        )
    return fabric


def _keep_fastest(fabric: _Fabric) -> None:
    """Ports of another kind are for storage or management. All stay when two kinds have as much bandwidth."""
    bandwidth: dict[str, float] = {}
    for port in fabric.ports:
        bandwidth[_kind(port)] = bandwidth.get(_kind(port), 0.0) + port.rate
    best = max(bandwidth.values(), default=0.0)
    kinds = [kind for kind, total in bandwidth.items() if total == best]
    if len(kinds) == 1:
        others = sorted(bandwidth.keys() - kinds)
        fabric.keep([port for port in fabric.ports if _kind(port) in kinds], f"only {' and '.join(others)}")


def _keep_near(fabric: _Fabric, gpu_places: Collection[tuple[str, str]]) -> None:
    """In virtual machines no port shares anything with a GPU: then place says nothing."""
    near = [port for port in fabric.ports if port.pci in gpu_places]
    if gpu_places and all(place in {port.pci for port in near} for place in gpu_places):
        fabric.keep(near, "not beside a GPU on the PCI bus")


def _find_gid_index(fabric: _Fabric, root: Path) -> tuple[int | None, str]:
    """The index of the RoCE v2 address that all ports of the fabric have in common, and where it is from."""
    if not fabric.ports or any(port.link != "roce" for port in fabric.ports):
        return None, "only RoCE has such an index"
    tables = {port: gid_indices(root, port) for port in fabric.ports}
    bare = [port.name for port, indices in tables.items() if not indices]
    if bare:
        fabric.warnings.append(
            f"{', '.join(bare)}: active, but without an IP address for RoCE v2. Give the network interface one."
        )
    if len(bare) == len(tables):
        return None, "no port has a RoCE v2 address other than a link-local one"
    fabric.keep([port for port in fabric.ports if tables[port]], "no RoCE v2 address")
    rank = max(min(indices.values()) for indices in tables.values() if indices)
    choices = {port.name: {i for i, r in tables[port].items() if r == rank} for port in fabric.ports}
    common = set.intersection(*choices.values())
    if common:
        return min(common), f"the RoCE v2 address over {'IPv6' if rank else 'IPv4'} of every port"
    found = ", ".join(f"{min(indices)} on {name}" for name, indices in choices.items() if indices)
    return None, f"differs between the ports ({found}); NCCL 2.21 and later find each port's own"

"""What is wrong with a single node, as a table of rules over its facts (host.py): each looks at them, and says what it
found. examine.py applies them to every node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from primus.doctor.finding import Finding, Severity

Facts = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Something that can be wrong."""

    name: str
    severity: Severity
    remedy: str
    look: Callable[[Facts], Iterator[str]]
    """The evidence, once for each case."""


def host_findings(facts: Facts, where: str) -> Iterator[Finding]:
    """Everything that the rules find on one node."""
    for rule in RULES:
        for evidence in rule.look(facts):
            yield Finding(severity=rule.severity, name=rule.name, where=where, evidence=evidence, remedy=rule.remedy)


def _hung(facts: Facts) -> Iterator[str]:
    for check, seconds in facts.get("hung", {}).items():
        yield f"the check of {check} did not end within {seconds:g} s"


def _failed(facts: Facts) -> Iterator[str]:
    for check, words in facts.get("failed", {}).items():
        yield f"{check}: {words}"


def _gpus(facts: Facts) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = facts.get("gpus", {}).get("gpus", [])
    return found


def _name(gpu: Mapping[str, Any]) -> str:
    return f"GPU {gpu['index']}" + (f" ({gpu['address']})" if gpu.get("address") else "")


def _uncorrected(facts: Facts) -> Iterator[str]:
    for gpu in _gpus(facts):
        if gpu.get("ecc_uncorrected", 0) > 0:
            yield f"{_name(gpu)}: {gpu['ecc_uncorrected']:.0f} uncorrected memory errors since the driver was loaded"


def _corrected(facts: Facts) -> Iterator[str]:
    for gpu in _gpus(facts):
        if gpu.get("ecc_corrected", 0) > 0:
            yield f"{_name(gpu)}: {gpu['ecc_corrected']:.0f} corrected memory errors since the driver was loaded"


def _ecc_off(facts: Facts) -> Iterator[str]:
    for gpu in _gpus(facts):
        if gpu.get("ecc") == "Disabled":
            yield f"{_name(gpu)}: ECC is disabled"


def _throttled(facts: Facts) -> Iterator[str]:
    for gpu in _gpus(facts):
        if gpu.get("throttled"):
            yield f"{_name(gpu)}: {gpu['throttled']}, at {gpu.get('temperature_c', '?')} °C before any load of ours"


def _link(facts: Facts) -> Iterator[str]:
    """Fewer lanes than the device has; its speed falls at rest to save power, which says nothing."""
    for gpu in _gpus(facts):
        lanes, best = (str(gpu.get(name, "")).rpartition(" x")[2] for name in ("link", "best_link"))
        if lanes.isdigit() and best.isdigit() and int(lanes) < int(best):
            yield f"{_name(gpu)}: PCIe link {gpu['link']}, where {gpu['best_link']} is possible"


def _occupied(facts: Facts) -> Iterator[str]:
    for gpu in _gpus(facts):
        used, total = gpu.get("memory_used_gib"), gpu.get("memory_gib")
        if used and total and used > 0.05 * total:
            yield f"{_name(gpu)}: {used:g} of {total:g} GiB are in use before we began"


def _tool(facts: Facts) -> Iterator[str]:
    if facts.get("gpus", {}).get("tool_trouble"):
        yield facts["gpus"]["tool_trouble"]


def _torch_sees(facts: Facts) -> Iterator[str]:
    gpus, torch = facts.get("gpus", {}), facts.get("torch", {})
    if gpus.get("count") and "devices" in torch and torch["devices"] != gpus["count"]:
        yield f"torch {torch['version']} sees {torch['devices']} GPUs, the kernel's driver {gpus['count']}"


def _no_torch(facts: Facts) -> Iterator[str]:
    if "missing" in facts.get("torch", {}):
        yield facts["torch"]["missing"]


def _memlock(facts: Facts) -> Iterator[str]:
    limit = facts.get("limits", {}).get("memlock", [None])[0]
    hardware = [port for port in facts.get("network", {}).get("ports", []) if port["hardware"]]
    if limit is not None and hardware:
        yield f"`ulimit -l` allows {limit / 2**20:g} MiB, and there are RDMA ports, which lock memory"


def _nofile(facts: Facts) -> Iterator[str]:
    limit = facts.get("limits", {}).get("nofile", [None, None])[1]
    if limit is not None and limit < 65536:
        yield f"`ulimit -Hn` allows {limit} open files"


def _nproc(facts: Facts) -> Iterator[str]:
    limit = facts.get("limits", {}).get("nproc", [None])[0]
    if limit is not None and limit < 4096:
        yield f"`ulimit -u` allows {limit} processes and threads"


def _shared(facts: Facts) -> Iterator[str]:
    memory = facts.get("memory", {})
    if "shared_gib" in memory and memory["shared_gib"] < 1:
        yield f"/dev/shm has {memory['shared_gib']:g} GiB"


def _swap(facts: Facts) -> Iterator[str]:
    used = facts.get("memory", {}).get("swap_used_gib", 0)
    if used > 1:
        yield f"{used:g} GiB of swap are in use"


def _memory(facts: Facts) -> Iterator[str]:
    memory = facts.get("memory", {})
    if "available_gib" in memory and memory["available_gib"] < 0.1 * memory["total_gib"]:
        yield f"{memory['available_gib']:g} of {memory['total_gib']:g} GiB of memory are available"


def _numa_balancing(facts: Facts) -> Iterator[str]:
    system = facts.get("system", {})
    if _gpus(facts) and len(system.get("numa", {})) > 1 and system.get("numa_balancing") not in ("0", None):
        yield f"kernel.numa_balancing = {system['numa_balancing']}, {len(system['numa'])} NUMA nodes"


def _iommu(facts: Facts) -> Iterator[str]:
    if _gpus(facts) and facts.get("system", {}).get("iommu") == "translates":
        yield "the IOMMU translates what devices send each other"


def _hugepages(facts: Facts) -> Iterator[str]:
    if facts.get("system", {}).get("transparent_hugepages") == "never":
        yield "transparent huge pages are off (never)"


def _governor(facts: Facts) -> Iterator[str]:
    if facts.get("system", {}).get("governor") == "powersave":
        yield "the processors' frequency governor is powersave"


def _space(facts: Facts) -> Iterator[str]:
    for folder in facts.get("folders", []):
        if folder["free_gib"] < max(10.0, 0.02 * folder["total_gib"]):
            yield f"{folder['use']} folder {folder['path']}: {folder['free_gib']:g} GiB free of {folder['total_gib']:g}"


def _inodes(facts: Facts) -> Iterator[str]:
    for folder in facts.get("folders", []):
        if folder["free_files"] is not None and folder["free_files"] < 10_000:
            yield f"{folder['use']} folder {folder['path']}: room for {folder['free_files']} more files"


def _unwritable(facts: Facts) -> Iterator[str]:
    for folder in facts.get("folders", []):
        if folder["use"] != "data" and not folder["writable"]:
            yield f"{folder['use']} folder {folder['path']} can't be written"


def _no_data(facts: Facts) -> Iterator[str]:
    for folder in facts.get("folders", []):
        if folder["use"] == "data" and not folder["exists"]:
            yield f"data folder {folder['path']} is not there"


def _own_name(facts: Facts) -> Iterator[str]:
    host = facts.get("names", {}).get("host", {})
    if "error" in host:
        yield f"the host's own name {host['name']} has no address: {host['error']}"


def _node_0(facts: Facts) -> Iterator[str]:
    node = facts.get("names", {}).get("node 0", {})
    if "error" in node:
        yield f"{node['name']} has no address: {node['error']}"


def _slow_names(facts: Facts) -> Iterator[str]:
    for each in facts.get("names", {}).values():
        if each["seconds"] > 1:
            yield f"looking up {each['name']} took {each['seconds']:g} s"


def _ports(facts: Facts) -> Iterator[str]:
    for port in facts.get("network", {}).get("ports", []):
        if port["hardware"] and port["state"] != "ACTIVE":
            yield f"RDMA port {port['name']} is {port['state'] or 'without a state'} ({port['physical'] or 'no link'})"


def _no_address(facts: Facts) -> Iterator[str]:
    for port in facts.get("network", {}).get("ports", []):
        if port["hardware"] and port["link"] == "roce" and port["state"] == "ACTIVE" and not port["gids"]:
            yield f"RDMA port {port['name']} (RoCE) has no RoCE v2 address that can be routed"


def _downs(facts: Facts) -> Iterator[str]:
    for port in facts.get("network", {}).get("ports", []):
        if port.get("link_downed", 0) > 0:
            yield f"the link of RDMA port {port['name']} went down {port['link_downed']} times"


def _doubts(facts: Facts) -> Iterator[str]:
    network = facts.get("network", {})
    yield from network.get("chosen", {}).get("warnings", [])
    if "refused" in network:
        yield network["refused"]


def _mtus(facts: Facts) -> Iterator[str]:
    ports = [port for port in facts.get("network", {}).get("ports", []) if port["hardware"] and port["mtu"]]
    sizes = {port["name"]: max(port["mtu"]) for port in ports}
    if len(set(sizes.values())) > 1:
        yield "the RDMA ports' interfaces have different MTUs: " + ", ".join(f"{k} {v}" for k, v in sizes.items())


RULES: tuple[Rule, ...] = (
    Rule(
        name="hangs",
        severity="error",
        look=_hung,
        remedy="look at what it uses on that node: a file system, a GPU driver or a name server that does not answer",
    ),
    Rule(name="refused", severity="error", look=_failed, remedy="see the system's words; that part was left out"),
    Rule(
        name="ecc-uncorrected",
        severity="error",
        look=_uncorrected,
        remedy="take the GPU out of use, reset it, and have it replaced when errors come again",
    ),
    Rule(name="ecc-corrected", severity="note", look=_corrected, remedy="watch whether they become more"),
    Rule(name="ecc-off", severity="warning", look=_ecc_off, remedy="switch ECC on: a flipped bit spoils a run unseen"),
    Rule(name="throttled", severity="warning", look=_throttled, remedy="see to cooling and power of that GPU"),
    Rule(
        name="pcie-link",
        severity="warning",
        look=_link,
        remedy="reseat the GPU or its riser; a link that came up narrow is mended by a power cycle at times",
    ),
    Rule(name="gpu-in-use", severity="warning", look=_occupied, remedy="end the processes that are left on the GPU"),
    Rule(name="gpu-tool", severity="warning", look=_tool, remedy="run the tool by hand; a driver that hangs stops it"),
    Rule(
        name="torch-gpus",
        severity="error",
        look=_torch_sees,
        remedy="install the torch build of this ROCm or CUDA, and see the visible-devices variables",
    ),
    Rule(
        name="no-torch",
        severity="warning",
        look=_no_torch,
        remedy="install torch in this Python (README), or run `primus doctor` where training runs",
    ),
    Rule(
        name="memlock",
        severity="error",
        look=_memlock,
        remedy="set memlock to unlimited in /etc/security/limits.conf, in the batch system and in the container",
    ),
    Rule(name="open-files", severity="note", look=_nofile, remedy="raise nofile to 65536 or more"),
    Rule(name="processes", severity="warning", look=_nproc, remedy="raise nproc; every worker has some 100 threads"),
    Rule(
        name="shared-memory",
        severity="warning",
        look=_shared,
        remedy="give the container more: --shm-size 16g; workers and data loaders exchange tensors there",
    ),
    Rule(name="swap", severity="warning", look=_swap, remedy="see what fills the memory; training that swaps stands"),
    Rule(name="memory", severity="warning", look=_memory, remedy="end what else runs on the node"),
    Rule(
        name="numa-balancing",
        severity="warning",
        look=_numa_balancing,
        remedy="sysctl kernel.numa_balancing=0: moving pages stalls the workers",
    ),
    Rule(name="iommu", severity="warning", look=_iommu, remedy="boot with iommu=pt, which lets GPUs and NICs pass"),
    Rule(name="huge-pages", severity="note", look=_hugepages, remedy="madvise or always lets large buffers use them"),
    Rule(name="governor", severity="note", look=_governor, remedy="cpupower frequency-set -g performance"),
    Rule(name="space", severity="warning", look=_space, remedy="free some space, or choose another folder"),
    Rule(name="files", severity="warning", look=_inodes, remedy="delete files there, or choose another folder"),
    Rule(name="not-writable", severity="error", look=_unwritable, remedy="choose another folder, or ask for access"),
    Rule(name="no-data", severity="error", look=_no_data, remedy="mount it there too, or correct --data or DATA_PATH"),
    Rule(name="own-name", severity="note", look=_own_name, remedy="add the host to /etc/hosts or to the name server"),
    Rule(name="name-of-node-0", severity="error", look=_node_0, remedy="mend the name server, or give an address"),
    Rule(name="slow-names", severity="warning", look=_slow_names, remedy="mend the name server that is asked first"),
    Rule(
        name="rdma-down",
        severity="warning",
        look=_ports,
        remedy="see the cable and the switch's port; `primus train` leaves the port out, and so loses its bandwidth",
    ),
    Rule(name="rdma-address", severity="error", look=_no_address, remedy="give the port's interface an address"),
    Rule(name="rdma-unsteady", severity="warning", look=_downs, remedy="clean or replace the cable or transceiver"),
    Rule(name="rdma-mtu", severity="warning", look=_mtus, remedy="give all interfaces of the fabric the same MTU"),
    Rule(name="network", severity="warning", look=_doubts, remedy="see docs/launch.md for how the network is chosen"),
)

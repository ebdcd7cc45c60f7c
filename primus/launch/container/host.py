"""What a container can use of this machine: the program that runs it, the devices that exist and who may open them.
prepare.py looks once, before anything starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from primus.errors import MissingError
from primus.launch.container.request import RUNTIMES, RuntimeName

_DEVICES = {"amd": ("dev/kfd", "dev/dri"), "nvidia": (), "cpu": ()}
"""Those of the GPUs; a runtime finds NVIDIA's itself."""

_FABRIC = "dev/infiniband"
_OPENED = ("kfd", "renderD*", "uverbs*", "rdma_cm")
"""Device files that workers open; others beside them are for screens and for the fabric's management."""

_CDI = ("etc/cdi", "var/run/cdi", "run/cdi")
_HOOK = "usr/share/containers/oci/hooks.d/oci-nvidia-hook.json"

_INSTALL = {
    "docker": "https://docs.docker.com/engine/install/",
    "podman": "apt-get install podman, or dnf install podman",
    "apptainer": "https://apptainer.org/docs/admin/latest/installation.html",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """The program that runs the container."""

    name: RuntimeName
    program: str
    """Its path, or just its name where it is not installed."""

    rootless: bool = False
    """Root inside is the user outside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """Facts of this machine."""

    uid: int
    gid: int
    devices: tuple[str, ...] = ()
    """Device files and folders that a worker needs and that are here."""

    groups: tuple[int, ...] = ()
    """Numbers of the groups that own them, root's left out."""

    closed: tuple[str, ...] = ()
    """Devices among them that this user may not open."""

    rdma: bool = False
    selinux: bool = False
    """It is enforced, and would keep the container from the mounted folders."""

    cdi: bool = False
    """NVIDIA's devices are described for podman."""


def find_runtime(wanted: RuntimeName | None, environ: Mapping[str, str], root: Path = Path("/")) -> Runtime:
    """The runtime that was asked for, or the first that is installed; docker only where its daemon listens, when there
    is another one. MissingError when there is none."""
    path = environ.get("PATH", "")
    names = [name for name in ((wanted,) if wanted else RUNTIMES) if shutil.which(name, path=path)]
    if not names:
        asked = f"--container {wanted}: {wanted}" if wanted else "--image: none of docker, podman and apptainer"
        raise MissingError(f"{asked} is not installed here ({_INSTALL[wanted or 'podman']})")
    silent = len(names) > 1 and names[0] == "docker" and not _daemon(environ, root)
    name = names[1] if silent else names[0]
    program = shutil.which(name, path=path)
    return Runtime(name=name, program=program or name, rootless=_is_rootless(name, environ, root))


def supposed_runtime(wanted: RuntimeName | None) -> Runtime:
    """For a dry run where none is installed."""
    name = wanted or RUNTIMES[0]
    return Runtime(name=name, program=name, rootless=name == "podman" and os.geteuid() != 0)


def look(accelerator: str, root: Path = Path("/")) -> Host:
    """This machine; `root` is the file system's root, `accelerator` the kind of GPUs that will be used."""
    devices = [root / name for name in _DEVICES[accelerator] if (root / name).exists()]
    rdma = (root / _FABRIC).is_dir() and any((root / _FABRIC).iterdir())
    devices += [root / _FABRIC] if rdma else []
    files = [file for device in devices for file in _files(device)]
    return Host(
        uid=os.geteuid(),
        gid=os.getegid(),
        devices=tuple(f"/{device.relative_to(root)}" for device in devices),
        groups=tuple(sorted({file.stat().st_gid for file in files} - {0})),
        closed=tuple(f"/{file.relative_to(root)}" for file in files if not os.access(file, os.R_OK | os.W_OK)),
        rdma=rdma,
        selinux=_read(root / "sys/fs/selinux/enforce") == "1",
        cdi=(root / _HOOK).exists() or any(any((root / folder).glob("*")) for folder in _CDI),
    )


def check_devices(runtime: Runtime, host: Host, accelerator: str) -> None:
    """MissingError when a device that the GPUs need is not here, or can't be opened by this user."""
    missing = [name for name in _DEVICES[accelerator] if f"/{name}" not in host.devices]
    if missing:
        raise MissingError(f"the GPUs can't be used in a container: there is no /{missing[0]} on this machine")
    if accelerator == "nvidia" and runtime.name == "podman" and not host.cdi:
        raise MissingError(
            "podman does not know NVIDIA's GPUs here. With NVIDIA's container toolkit installed: "
            "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
        )
    own_rights = runtime.rootless or runtime.name == "apptainer"
    if host.closed and own_rights:
        numbers = ", ".join(map(str, host.groups)) or "root"
        raise MissingError(
            f"you may not open {', '.join(host.closed)}, and a container of {runtime.name} has your rights: "
            f"ask to join the group that owns it (number {numbers}; render or video by name)"
        )


def _daemon(environ: Mapping[str, str], root: Path) -> bool:
    """Whether docker's daemon seems to be there, and open to this user."""
    if environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT"):
        return True
    sockets = [root / "var/run/docker.sock", *_own_socket(environ)]
    return any(os.access(socket, os.W_OK) for socket in sockets)


def _is_rootless(name: RuntimeName, environ: Mapping[str, str], root: Path) -> bool:
    if name == "docker":
        host = environ.get("DOCKER_HOST", "")
        own = [str(socket) for socket in _own_socket(environ) if socket.exists()]
        return "/run/user/" in host or bool(own and not host and not (root / "var/run/docker.sock").exists())
    return name == "podman" and os.geteuid() != 0


def _own_socket(environ: Mapping[str, str]) -> list[Path]:
    """Where a daemon of the user's own would listen."""
    folder = environ.get("XDG_RUNTIME_DIR")
    return [Path(folder) / "docker.sock"] if folder else []


def _files(device: Path) -> list[Path]:
    files = sorted(device.iterdir()) if device.is_dir() else [device]
    return [file for file in files if any(file.match(pattern) for pattern in _OPENED)]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""

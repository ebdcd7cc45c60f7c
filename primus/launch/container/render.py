"""The command line that runs a job in a container, for each runtime. Pure: golden tests hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.errors import UsageError
from primus.job import Job
from primus.launch.container.host import Host, Runtime
from primus.launch.container.image import Image
from primus.launch.container.mounts import PRIMUS
from primus.launch.container.request import Mount, Request
from primus.launch.container.variables import split
from primus.launch.render import command
from primus.run import RunDirectory

PYTHON = "python3"
"""The image's own, on its PATH."""

ENTER = f"{PRIMUS}/primus/launch/container/enter.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """Everything about the container of one launch."""

    job: Job
    request: Request
    runtime: Runtime
    host: Host
    image: Image | None
    """None when it is not here yet, in a dry run."""

    name: str
    working_directory: Path
    mounts: tuple[Mount, ...]
    variables: Mapping[str, str]
    """What is set over the image's environment."""

    packages: tuple[str, ...]
    """What the workers import, for a clear error when the image lacks it."""

    @property
    def env_text(self) -> str:
        """The content of the file of variables."""
        return split(self.variables, self.runtime.name)[0]

    @property
    def by_name(self) -> list[str]:
        """Variables that can't stand in that file."""
        return split(self.variables, self.runtime.name)[1]

    @property
    def notes(self) -> Path:
        """Written from inside when the first process has begun: its Python and packages."""
        return RunDirectory(self.job.run_dir).logs / f"node{self.job.resources.node_rank}" / "container.json"

    def argv(self, env_file: str) -> list[str]:
        """The runtime's command line; it reads the variables from `env_file`."""
        return _apptainer(self, env_file) if self.runtime.name == "apptainer" else _engine(self, env_file)

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        image = self.image
        return {
            "runtime": self.runtime.name,
            "image": self.request.image,
            "image_id": image.id if image else None,
            "image_digests": list(image.digests) if image else [],
            "name": self.name,
            "privileged": self.request.privileged,
            "mounts": [f"{mount.source}:{mount.target}{':ro' * mount.read_only}" for mount in self.mounts],
        }


def inside(container: Container) -> list[str]:
    """What runs in the container, after its Python."""
    _, *worker = command(container.job, PYTHON)
    return [ENTER, str(container.notes), ",".join(container.packages), *worker]


def _engine(container: Container, env_file: str) -> list[str]:
    """docker and podman."""
    podman = container.runtime.name == "podman"
    return [
        container.runtime.program,
        *("run", "--rm", "--interactive", f"--name={container.name}"),
        *("--network=host", "--ipc=host", *(["--uts=host", "--pids-limit=-1"] if podman else [])),
        *_user(container),
        *_rights(container),
        *(f"--volume={_volume(mount)}" for mount in container.mounts),
        f"--workdir={container.working_directory}",
        f"--env-file={env_file}",
        *(f"--env={name}" for name in container.by_name),
        f"--entrypoint={PYTHON}",
        container.request.image,
        *inside(container),
    ]


def _user(container: Container) -> list[str]:
    """Files in the mounted folders shall be the user's."""
    host, runtime = container.host, container.runtime
    if runtime.rootless:  # root inside is the user outside
        return ["--user=0:0", *(["--group-add=keep-groups"] if runtime.name == "podman" and host.devices else [])]
    return [f"--user={host.uid}:{host.gid}", *(f"--group-add={group}" for group in host.groups)]


def _rights(container: Container) -> list[str]:
    """Devices, and what is allowed."""
    host, accelerator = container.host, container.job.resources.accelerator
    options = list(_NVIDIA[container.runtime.name]) if accelerator == "nvidia" else []
    if container.request.privileged:
        return [*options, "--privileged"]
    options += [f"--device={device}" for device in host.devices]
    options.append("--cap-add=SYS_PTRACE")  # stacks of a worker that hangs
    if accelerator != "cpu":
        options.append("--security-opt=seccomp=unconfined")  # memory is placed near its GPU with calls that it forbids
    if host.selinux:
        options.append("--security-opt=label=disable")
    if host.rdma:  # the fabric reads memory that must stay where it is
        options.append("--ulimit=host" if container.runtime.rootless else "--ulimit=memlock=-1")
    return options


def _apptainer(container: Container, env_file: str) -> list[str]:
    nvidia = _NVIDIA["apptainer"] if container.job.resources.accelerator == "nvidia" else ()
    bound = [Mount(source=device, target=device) for device in container.host.devices]
    return [
        container.runtime.program,
        *("exec", "--cleanenv", "--no-home", "--pid", *nvidia),
        *(f"--bind={_bind(mount)}" for mount in [*bound, *container.mounts]),
        f"--pwd={container.working_directory}",
        f"--env-file={env_file}",
        apptainer_image(container.request.image),
        PYTHON,
        *inside(container),
    ]


def apptainer_image(image: str) -> str:
    """A file, a folder or a URI as it is; a name as docker would take it."""
    return image if "://" in image or Path(image).exists() else f"docker://{image}"


def _volume(mount: Mount) -> str:
    _refuse(mount, ":")
    return f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")


def _bind(mount: Mount) -> str:
    _refuse(mount, ":,")
    return f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")


def _refuse(mount: Mount, characters: Sequence[str]) -> None:
    for path in (mount.source, mount.target):
        if any(character in path for character in characters):
            raise UsageError(f"{path}: a path with {' or '.join(characters)} in it can't be mounted in a container")


_NVIDIA = {
    "docker": ("--gpus=all",),
    "podman": ("--device=nvidia.com/gpu=all",),
    "apptainer": ("--nv",),
}

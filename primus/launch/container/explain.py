"""Why a container did not start, in the words of its runtime and with a remedy. local.py calls it when a runtime ends
before training has begun."""

from __future__ import annotations

from collections.abc import Sequence

from primus.launch.container.render import PYTHON, Container

_ENGINE = {125: "could not start the container", 126: "could not run {python} in it", 127: "found no {python} in it"}
_MEANINGS = {
    "docker": _ENGINE,
    "podman": _ENGINE,
    "apptainer": {126: _ENGINE[126], 127: _ENGINE[127], 255: "could not run the image"},
}
"""Exit statuses of the runtimes themselves."""

_REMEDIES = (
    ("could not select device driver", "Docker needs NVIDIA's container toolkit here: nvidia-ctk runtime configure"),
    ("unresolvable cdi devices", "Describe NVIDIA's GPUs: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
    ("exec format error", "The image is for another kind of processor"),
    ("no space left on device", "Free some space where the runtime keeps its images and containers"),
    ("is the docker daemon running", "Start Docker's daemon, or take another runtime with --container"),
    ("/dev/mqueue", "Rootless podman shares /dev/mqueue, which is not mounted here: mount -t mqueue none /dev/mqueue"),
    ("newuidmap", "This user has no range of user ids for podman: see /etc/subuid, and install uidmap"),
    ("executable file", "The image must have python3 on its PATH, and in it what the backend needs"),
    ("no such file or directory: oci runtime", "The image must have python3 on its PATH"),
)
"""Words of a message in lower case, and what to do."""


def why_not_started(container: Container, status: int, said: Sequence[str]) -> str | None:
    """The reason when the runtime itself failed; None when the first process inside has begun. `said` are the last
    lines of its output."""
    meaning = _MEANINGS[container.runtime.name].get(status)
    if meaning is None or container.notes.exists():
        return None
    words = "\n".join(said)
    remedies = [f"{remedy}." for pattern, remedy in _REMEDIES if pattern in words.lower()]
    first = f"{container.runtime.name} {meaning} (exit status {status}, image {container.request.image})"
    return "\n".join([first.replace("{python}", PYTHON), *said, *remedies[:1]])

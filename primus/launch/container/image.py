"""Asks a runtime for an image: whether it is here, its digest, and the environment that it sets. The question is asked
in a process of its own, so that the experiment is read meanwhile. prepare.py uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primus.errors import MissingError, ServiceError
from primus.launch.container.host import Runtime

_ABSENT = ("no such image", "image not known", "unable to find", "no such object")
"""Words of a runtime that has no such image, in lower case."""

_REMEDIES = (
    ("permission denied", "You may not use the daemon: ask to join the group docker, or take --container podman."),
    ("is the docker daemon running", "Start the daemon, or take another runtime with --container."),
)
"""For a runtime that can't answer: words of its message, and what to do."""

_SIF_ID = slice(48, 64)
_SIF_MAGIC = (slice(32, 41), b"SIF_MAGIC")


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image that is here."""

    id: str | None
    digests: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Inquiry:
    """A question about one image, begun when the object is made."""

    def __init__(self, runtime: Runtime, reference: str) -> None:
        self._runtime, self._reference = runtime, reference
        self._image: Image | None = None
        self._process = self._ask()

    def image(self) -> Image | None:
        """The image; None when it is not here. ServiceError when the runtime can't say."""
        if self._process is not None:
            process, self._process = self._process, None
            out, err = process.communicate()
            self._image = self._read(process.returncode, out, err.decode(errors="replace").strip())
        return self._image

    def pull(self) -> Image:
        """The image after the runtime has fetched it, as it would before running it; its words go to the terminal."""
        name = self._runtime.name
        print(f"{self._reference} is not here; {name} pulls it", file=sys.stderr, flush=True)
        done = subprocess.run([self._runtime.program, "pull", self._reference], stdout=sys.stderr, check=False)
        if done.returncode == 0:
            self._process = self._ask()
        image = self.image()
        if image is None:
            raise MissingError(
                f"--image {self._reference}: not on this machine, and {name} could not pull it (its words are above). "
                f"Is the name right? `{name} images` lists those that are here; a private one needs `{name} login`."
            )
        return image

    def _ask(self) -> subprocess.Popen[bytes] | None:
        inspect = [self._runtime.program, "image", "inspect", self._reference]
        return subprocess.Popen(
            inspect, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def _read(self, status: int, out: bytes, err: str) -> Image | None:
        if status == 0:
            return parse(json.loads(out)[0])
        if any(words in err.lower() for words in _ABSENT):
            return None
        remedies = [remedy for words, remedy in _REMEDIES if words in err.lower()]
        text = f"{self._runtime.name} can't be asked for the image {self._reference}: {err}"
        raise ServiceError("\n".join([text, *remedies[:1]]))


class ApptainerInquiry(Inquiry):
    """Apptainer's images are files; a name is fetched into its cache when it is first run. What an image sets is known
    from running `env` in it."""

    def pull(self) -> Image:
        """The environment of the image, which is fetched for that when it is a name."""
        from primus.launch.container.render import apptainer_image

        reference = apptainer_image(self._reference)
        path = Path(self._reference)
        if "://" not in reference and not path.exists():
            raise MissingError(f"--image {reference}: there is no such file")
        argv = [self._runtime.program, "exec", "--cleanenv", "--no-home", reference, "env", "-0"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            raise MissingError(f"--image {self._reference}: apptainer can't run it (its words are above)")
        pairs = (entry.partition("=") for entry in done.stdout.decode(errors="replace").split("\0"))
        self._image = Image(id=sif_id(path), environment={name: value for name, _, value in pairs if name})
        return self._image

    def _ask(self) -> None:
        return None


def inquire(runtime: Runtime, reference: str) -> Inquiry:
    """Begin to ask."""
    return (ApptainerInquiry if runtime.name == "apptainer" else Inquiry)(runtime, reference)


def parse(answer: Mapping[str, Any]) -> Image:
    """What docker and podman say about an image."""
    settings = (answer.get("Config") or {}).get("Env") or []
    return Image(
        id=str(answer["Id"]),
        digests=tuple(answer.get("RepoDigests") or ()),
        environment={name: value for name, _, value in (setting.partition("=") for setting in settings)},
    )


def sif_id(path: Path) -> str | None:
    """The number that an apptainer file was given when it was made; None for a folder or a name."""
    if not path.is_file():
        return None
    import uuid  # seldom needed

    with path.open("rb") as file:
        head = file.read(_SIF_ID.stop)
    place, magic = _SIF_MAGIC
    return str(uuid.UUID(bytes=head[_SIF_ID])) if head[place] == magic else None

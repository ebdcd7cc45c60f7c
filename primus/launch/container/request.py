"""What a user asks of a container, checked. `primus train` makes a Request of its options; so can every command that
submits a training elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from primus.errors import MissingError, UsageError, did_you_mean

RuntimeName = Literal["docker", "podman", "apptainer"]
RUNTIMES: tuple[RuntimeName, ...] = ("docker", "podman", "apptainer")
"""In the order in which they are looked for."""

_ACCESS = {"ro": True, "rw": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A folder or file of this machine inside of the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The container that was asked for."""

    image: str
    runtime: RuntimeName | None = None
    """None takes the one that is here."""

    privileged: bool = False
    mounts: tuple[Mount, ...] = ()
    """Besides those that Primus makes."""


def container_request(
    *, image: str | None, runtime: str | None, privileged: bool, mounts: Sequence[str]
) -> Request | None:
    """The request in these options; None when they ask for no container."""
    chosen = _runtime(runtime)
    if not image and chosen is None:
        unused = "--privileged" if privileged else "--mount" if mounts else None
        if unused:
            raise UsageError(f"{unused} is for a container: name its image with --image")
        return None
    if privileged and chosen == "apptainer":
        raise UsageError("--privileged: apptainer runs everything with your own rights; leave it out")
    return Request(
        image=image or default_image(),
        runtime=chosen,
        privileged=privileged,
        mounts=tuple(parse_mount(text) for text in mounts),
    )


def default_image() -> str:
    """The image of the pre-training guide."""
    from primus.experiment.toml_parser import loads

    return str(loads((Path(__file__).parent / "defaults.toml").read_text(encoding="utf-8"))["image"])


def parse_mount(text: str) -> Mount:
    """A mount as it is written on the command line: HOST[:CONTAINER[:ro]]."""
    parts = text.split(":")
    source, target, access = parts[0], "".join(parts[1:2]), "".join(parts[2:3]) or "rw"
    if not source or access not in _ACCESS or len(parts) > 3:
        raise UsageError(f"--mount {text}: expected HOST, HOST:CONTAINER or HOST:CONTAINER:ro, with paths without `:`")
    absolute = os.path.abspath(source)
    if not os.path.exists(absolute):
        raise MissingError(f"--mount {text}: there is no {absolute} on this machine")
    if target in _ACCESS:
        raise UsageError(f"--mount {text}: name the path inside, too: {source}:{absolute}:{target}")
    if target and not os.path.isabs(target):
        raise UsageError(f"--mount {text}: the path inside must begin with /")
    return Mount(source=absolute, target=os.path.normpath(target or absolute), read_only=_ACCESS[access])


def _runtime(name: str | None) -> RuntimeName | None:
    for known in RUNTIMES:
        if name == known:
            return known
    if not name:
        return None
    raise UsageError(f"--container {name}: unknown.{did_you_mean(name, RUNTIMES)} Choose from: {', '.join(RUNTIMES)}")

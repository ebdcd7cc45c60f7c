"""From the options to the container of one launch: the runtime that is here is found and asked for the image while the
experiment is read. `primus train` uses it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.errors import MissingError
from primus.job import Job
from primus.launch.container.host import Host, Runtime, check_devices, find_runtime, look, supposed_runtime
from primus.launch.container.image import Image, Inquiry, inquire
from primus.launch.container.mounts import plan_mounts
from primus.launch.container.render import Container
from primus.launch.container.request import Request
from primus.launch.container.variables import container_environment


class Preparation:
    """The container of a launch that is being planned. Making the object asks the runtime for the image."""

    def __init__(self, request: Request, *, accelerator: str, environ: Mapping[str, str], dry_run: bool) -> None:
        self._request, self._accelerator, self._environ = request, accelerator, environ
        self._host = look(accelerator)
        self._inquiry: Inquiry | None = None
        try:
            self._runtime = find_runtime(request.runtime, environ)
        except MissingError as error:
            if not dry_run:
                raise
            self._runtime = supposed_runtime(request.runtime)
            print(f"Warning: {error}; what is shown is for {self._runtime.name}", file=sys.stderr)
        else:
            self._inquiry = inquire(self._runtime, request.image)

    def require(self) -> None:
        """MissingError or ServiceError when the container can't be; fetches an image that is not here."""
        assert self._inquiry is not None
        check_devices(self._runtime, self._host, self._accelerator)
        if self._inquiry.image() is None:
            self._inquiry.pull()

    def plan(self, job: Job, values: Mapping[str, Any], packages: tuple[str, ...]) -> Container:
        """The container for this job, whose experiment has these values and whose workers import these packages."""
        return plan_container(
            job,
            request=self._request,
            runtime=self._runtime,
            host=self._host,
            image=self._image(),
            environ=self._environ,
            working_directory=Path.cwd(),
            values=values,
            packages=packages,
        )

    def explain_unknown(self) -> str | None:
        """For a dry run: why it is not known what the image sets."""
        if self._inquiry is None or self._image() is not None:
            return None
        return f"{self._request.image} is not looked into, since a dry run changes nothing: what it sets is not known"

    def _image(self) -> Image | None:
        return self._inquiry.image() if self._inquiry is not None else None


def plan_container(
    job: Job,
    *,
    request: Request,
    runtime: Runtime,
    host: Host,
    image: Image | None,
    environ: Mapping[str, str],
    working_directory: Path,
    values: Mapping[str, Any],
    packages: tuple[str, ...],
) -> Container:
    """The container as values; only looks at the file system for what there is to mount."""
    variables = container_environment(job, environ, image.environment if image else {}, runtime.name)
    mounts = plan_mounts(
        working_directory=working_directory,
        folders=[job.run_dir.parent.parent],
        variables=variables,
        values=values,
        extra=request.mounts,
    )
    return Container(
        job=job,
        request=request,
        runtime=runtime,
        host=host,
        image=image,
        name=f"primus-{job.run_dir.name}-node{job.resources.node_rank}-attempt{job.attempt}-{os.getpid()}",
        working_directory=working_directory,
        mounts=tuple(mounts),
        variables=variables,
        packages=packages,
    )

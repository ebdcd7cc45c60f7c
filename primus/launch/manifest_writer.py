"""Writes the manifest of a launch in a thread, so that neither git nor a slow disk keeps the launcher from its workers.
local.py uses it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from primus.errors import MissingError
from primus.job import Job
from primus.launch.devices import find_accelerators
from primus.manifest import write_manifest


class ManifestWriter:
    """The manifest of one launch: begun when the object is made, and there after finish()."""

    def __init__(
        self, job: Job, *, argv: Sequence[str], variables: Mapping[str, str], started: str, more: Mapping[str, Any]
    ) -> None:
        self._job, self._argv, self._variables = job, argv, variables
        self._started, self._more = started, more
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="manifest")
        self._written = self._thread.submit(self._write)

    def finish(self) -> None:
        """Wait until it is written; a disk that can't take it is told, and does not end training."""
        try:
            self._written.result()
        except MissingError as error:
            print(f"Warning: {error}", file=sys.stderr)
        self._thread.shutdown()

    def _write(self) -> None:
        write_manifest(
            self._job,
            command=self._argv,
            environment=self._variables,
            started=self._started,
            accelerators=asdict(find_accelerators(os.environ)),
            more=self._more,
        )

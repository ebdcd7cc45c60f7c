"""Writes the manifest of a launch in a thread, so that neither git nor a slow disk keeps the launcher from its workers.
local.py uses it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from primus.errors import MissingError
from primus.job import Job
from primus.launch.devices import find_accelerators

_INTERVAL = 0.05
"""Seconds between two looks at whether the time has come."""


class ManifestWriter:
    """The manifest of one launch: written in the background, and there after finish()."""

    def __init__(
        self,
        job: Job,
        *,
        argv: Sequence[str],
        variables: Mapping[str, str],
        started: str,
        more: Mapping[str, Any],
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_begin` tells when it takes no time from what matters more."""
        self._job, self._argv, self._variables = job, argv, variables
        self._started, self._more, self._may_begin = started, more, may_begin
        self._must_begin = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="manifest")
        self._written = self._thread.submit(self._write)

    def finish(self) -> None:
        """Wait until it is written; a disk that can't take it is told, and does not end training."""
        self._must_begin.set()
        try:
            self._written.result()
        except MissingError as error:
            print(f"Warning: {error}", file=sys.stderr)
        self._thread.shutdown()

    def _write(self) -> None:
        while not self._may_begin() and not self._must_begin.wait(_INTERVAL):
            continue
        from primus.manifest import write_manifest  # what it imports takes time, too

        write_manifest(
            self._job,
            command=self._argv,
            environment=self._variables,
            started=self._started,
            accelerators=asdict(find_accelerators(os.environ)),
            more=self._more,
        )

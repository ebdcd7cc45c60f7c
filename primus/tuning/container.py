"""Asks and tunes in the container that training runs in, where its hipBLASLt is: `primus train --tune-stage 2|3 --image
IMG` stays outside, as for training itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.errors import ExitStatus, PrimusError
from primus.job import Job, Resources
from primus.launch.container.prepare import Preparation
from primus.launch.container.process import ContainerSupervisor
from primus.run import RunDirectory, new_run_id
from primus.tuning.inside import ANSWER, REQUEST, as_json, as_outcome
from primus.tuning.measure_process import Failure
from primus.tuning.place import Place
from primus.tuning.tune.request import Outcome, TuneRequest
from primus.tuning.variables import NOT_FOR_QUESTIONS, for_use

_INTERVAL = 0.2
"""Seconds between two looks at what it prints."""


class _InsideError(PrimusError):
    """What went wrong in there, with its status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = ExitStatus(status)


class Inside:
    """The container of one training, for requests of the tuning."""

    def __init__(self, preparation: Preparation, place: Place, *, accelerator: str, environ: Mapping[str, str]) -> None:
        self._preparation, self._place = preparation, place
        self._accelerator, self._environ = accelerator, environ

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """Put a request to child.py inside, with the tuning file as training will have it."""
        answer = self._run(request, with_file=True)
        if "failure" in answer:
            return Failure(**answer["failure"])
        return dict(answer["answer"])

    def tune(self, request: TuneRequest) -> Outcome:
        """Stage 2 inside; its progress is shown here."""
        return as_outcome(self._run({"tune": as_json(request)}, with_file=False)["outcome"])

    def _run(self, request: Mapping[str, Any], *, with_file: bool) -> dict[str, Any]:
        self._preparation.require()
        run_dir = RunDirectory(self._place.folder / "inside" / new_run_id())
        job = Job(
            name="tuning",
            backend="tuning",
            module="primus.tuning.inside",
            resources=Resources(accelerator=self._accelerator),
            run_dir=run_dir.path,
            environment=for_use(self._place.results) if with_file else (),
            without=dict(NOT_FOR_QUESTIONS),
        )
        run_dir.create({REQUEST: json.dumps(dict(request))})
        log = run_dir.agent_log(0)
        status = self._supervise(job, log, show="tune" in request)
        answer = run_dir.path / ANSWER
        if status or not answer.exists():
            raise _InsideError(f"the container left with status {status}; what it printed is in {log}", 4)
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        shutil.rmtree(run_dir.path)
        if "error" in found:
            raise _InsideError(found["error"], found["status"])
        return found

    def _supervise(self, job: Job, log: Path, *, show: bool) -> int:
        supervisor = ContainerSupervisor(self._preparation.plan(job, {}, ()))
        with supervisor.listening(), supervisor:
            supervisor.run(self._environ, log)
            with log.open("rb") as output:
                while (status := supervisor.wait(_INTERVAL)) is None:
                    _pass_on(output.read(), show=show)
                _pass_on(output.read(), show=show)
        return status


def _pass_on(text: bytes, *, show: bool) -> None:
    if show and text:
        sys.stderr.flush()
        os.write(sys.stderr.fileno(), text)

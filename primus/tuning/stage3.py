"""Stage 3: training with the tuned kernels, after the file was checked and its use was proved. `primus train
--tune-stage 3` is this."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from primus.backends.base import Backend
from primus.errors import MissingError
from primus.experiment import Experiment
from primus.job import Job
from primus.launch.stage import Stage
from primus.tuning.child import OVERRIDE_FILE
from primus.tuning.installed import ASKING_SECONDS, Installed, described, from_header
from primus.tuning.measure_process import Failure, ask
from primus.tuning.place import Place
from primus.tuning.record import read_record, refuse_other_model
from primus.tuning.shapes import Shapes, read_shapes
from primus.tuning.tune.request import DEFAULT_WORKSPACE
from primus.tuning.use import Ask, FileCheck, Proof, as_facts, check_file, probe
from primus.tuning.variables import NOT_FOR_QUESTIONS, NOT_WITH_A_FILE, for_use, overruled


class Use(Stage):
    """One run of stage 3, on one of its nodes."""

    def __init__(
        self,
        *,
        place: Place,
        backend: Backend,
        experiment: Experiment,
        node_rank: int,
        force: bool,
        inside: Ask | None,
        environ: Mapping[str, str],
    ) -> None:
        """`inside` asks the library of the container that training runs in; None for the one of this machine."""
        self._place, self._backend, self._experiment = place, backend, experiment
        self._node_rank, self._force, self._environ = node_rank, force, environ
        self._ask: Ask = inside or self._ask_here
        self._in_container = inside is not None
        self._facts: dict[str, Any] = {"stage": 3, "file": None}
        self._has_file = True

    def require(self, *, dry_run: bool) -> None:
        place, force = self._place, self._force
        warnings = refuse_other_model(place, self._backend, self._experiment, force=force)
        self._has_file = place.results.exists() or not _nothing_gained(place)
        if not self._has_file:
            print(f"Stage 3: stage 2 found no faster kernel; training uses the library's own ({place.record(2)}).")
            return
        shapes = read_shapes(place.shapes) if place.shapes.exists() else None
        library = self._library(dry_run=dry_run)
        check = check_file(place.results, shapes, library if isinstance(library, Installed) else None)
        proof = None if dry_run or check.refusals else self._prove(shapes, library)
        self._facts = as_facts(check, proof)
        self._judge(check, proof, [*warnings, *_about_determinism(self._experiment), *check.warnings])
        print(_summary(check, proof), flush=True)

    def plan(self, job: Job) -> Job:
        if not self._has_file:
            return replace(job, facts={**job.facts, "tuning": self._facts})
        name = "tuning.json" if self._node_rank == 0 else f"facts/tuning-node{self._node_rank}.json"
        return replace(
            job,
            environment=(*job.environment, *for_use(self._place.results)),
            without={**job.without, **NOT_WITH_A_FILE},
            files={**job.files, name: json.dumps(self._facts, indent=2) + "\n"},
            facts={**job.facts, "tuning": self._facts},
        )

    def begin(self, job: Job) -> None:
        for line in overruled(job.environment, job.without, self._environ):
            print(f"Stage 3: {line}", file=sys.stderr)

    def _library(self, *, dry_run: bool) -> Installed | Failure | None:
        """The one that training will load."""
        if dry_run:
            return None if self._in_container else from_header(self._environ)
        answer = self._ask({"do": "describe"})
        if not isinstance(answer, Failure):
            return described(answer)
        header = None if self._in_container else from_header(self._environ)
        return header or answer

    def _prove(self, shapes: Shapes | None, library: Installed | Failure | None) -> Proof:
        version = library.version if isinstance(library, Installed) else None
        limit = (read_record(self._place, 2) or {}).get("max_workspace", DEFAULT_WORKSPACE)
        return probe(self._place.results, shapes, self._ask, version=version, max_workspace=limit)

    def _ask_here(self, request: Mapping[str, Any]) -> dict[str, Any] | Failure:
        return ask(request, timeout=ASKING_SECONDS, environ=as_in_training(self._place, self._environ))

    def _judge(self, check: FileCheck, proof: Proof | None, warnings: list[str]) -> None:
        """Refuse, or print what is doubtful."""
        refusals = [*check.refusals]
        if proof is not None and not proof.used:
            refusals.append(f"{check.file} is not used: {proof.reason}")
        elif proof is not None and proof.missed:
            named = ", ".join(proof.missed[:3])
            warnings.append(f"{len(proof.missed)} of {proof.asked} GEMMs miss their row ({named}): {proof.reason}")
        if refusals and not self._force:
            forced = "--tune-force (--force of primus tune) trains all the same, without what the library ignores."
            raise MissingError("\n".join([*refusals, forced]))
        for line in [*(f"forced: {each}" for each in refusals), *warnings]:
            print(f"Warning: stage 3: {line}", file=sys.stderr)


def as_in_training(place: Place, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the library is asked: with the file, without what would hinder it, and silent."""
    kept = {name: value for name, value in environ.items() if name not in NOT_FOR_QUESTIONS}
    return kept | {OVERRIDE_FILE: os.fspath(place.results)}


_DETERMINISTIC = ("deterministic_mode", "debug.deterministic")
"""Keys of both backends."""


def _about_determinism(experiment: Experiment) -> list[str]:
    chosen = next((key for key in _DETERMINISTIC if (found := experiment.find(key)) and found.data), None)
    if chosen is None:
        return []
    return [
        f"{chosen} is on, and a tuned kernel may add up in another order each time: compare two runs, or do without"
    ]


def _nothing_gained(place: Place) -> bool:
    """Whether stage 2 has ended without a single row."""
    record = read_record(place, 2)
    return record is not None and record.get("kept") == 0


def _summary(check: FileCheck, proof: Proof | None) -> str:
    text = f"Tuning file: {check.rows} rows of build {check.revision or 'unknown'}"
    if check.shapes is not None:
        text += f"; rows for {check.covered} of {check.shapes} shapes, {check.flops_covered:.1%} of the operations"
    if proof is not None:
        text += f"; the library uses it for {proof.used} of {proof.asked} GEMMs asked"
    return text

"""Stage 1: a short training whose processes dump their GEMMs, and what they dumped, merged into gemm_shapes.jsonl.
`primus train --tune-stage 1` is this."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from primus.backends.base import Backend
from primus.errors import MissingError
from primus.experiment import Experiment
from primus.job import Job, Resources
from primus.launch.stage import Stage
from primus.run import explained
from primus.tuning.empty import why_empty
from primus.tuning.installed import Installed, from_header
from primus.tuning.place import Place
from primus.tuning.record import inputs_of, predicted, read_record, write_record
from primus.tuning.shapes import Shapes, find_dumps, read_dumps, write_shapes
from primus.tuning.table import shapes_table
from primus.tuning.variables import NOT_FOR_DUMPING, for_dumping, overruled

RESUME = "PRIMUS_TUNE_RESUME"
"""`primus tune --stage all` sets it to 1, unless everything is to be repeated."""

SUFFIX = "-gemm-shapes"
"""Of the experiment's name: a folder of its own, so that no checkpoint of the real training is met or made."""


class Dump(Stage):
    """One run of stage 1, on one of its nodes."""

    def __init__(
        self,
        *,
        place: Place,
        backend: Backend,
        experiment: Experiment,
        resources: Resources,
        steps: int,
        in_container: bool,
        environ: Mapping[str, str],
    ) -> None:
        """`experiment` is the user's, before sets()."""
        self._place, self._backend, self._experiment = place, backend, experiment
        self._resources, self._steps = resources, steps
        self._in_container, self._environ = in_container, environ
        self._library: Installed | None = None if in_container else from_header(environ)
        """In a container it is the image's, of which nothing is known here."""

    def sets(self, backend: Backend) -> tuple[str, ...]:
        return (f"exp_name={self._experiment.exp_name}{SUFFIX}", *backend.short_run(self._steps))

    def done_before(self) -> str | None:
        """Of `--stage all` only: shapes of the same experiment, dumped on as many processes, are taken as they are."""
        record = read_record(self._place, 1) if self._environ.get(RESUME) == "1" else None
        if record is None or not self._place.shapes.exists() or record.get("inputs") != self._inputs():
            return None
        return (
            f"Stage 1 is done: {record['shapes']} shapes in {self._place.shapes}, of {record['time']}. "
            "--fresh repeats it."
        )

    def plan(self, job: Job) -> Job:
        folder = self._place.node(self._resources.node_rank)
        version = self._library.version if self._library is not None else None
        return replace(
            job,
            environment=(*job.environment, *for_dumping(folder, version=version)),
            without={**job.without, **NOT_FOR_DUMPING},
            facts={**job.facts, "tuning": {"stage": 1, "steps": self._steps, "dumps": str(self._place.dumps)}},
        )

    def begin(self, job: Job) -> None:
        place, node = self._place, self._resources.node_rank
        for line in overruled(job.environment, job.without, self._environ):
            print(f"Stage 1: {line}", file=sys.stderr)
        old = [place.node(node)]
        if node == 0:
            known = {place.node(number) for number in range(self._resources.nnodes)}
            old += [place.shapes, place.record(1), *(path for path in place.dumps.glob("*") if path not in known)]
        for path in old:
            moved = place.set_aside(path)
            if moved is not None:
                print(f"Stage 1: what was dumped before is kept in {moved}", file=sys.stderr)
        with explained(f"can't make {place.node(node)}"):
            place.node(node).mkdir(parents=True)

    def finish(self, status: int) -> int:
        if status:
            print("Stage 1: training has failed, so that its dumps are not merged.", file=sys.stderr)
        elif self._resources.node_rank == 0:
            self._merge()
        return status

    def _merge(self) -> None:
        place = self._place
        dumps = find_dumps(place.dumps)
        shapes = read_dumps(dumps, processes=min(8, os.cpu_count() or 1))
        if not shapes.uses:
            raise MissingError(
                why_empty(
                    place.dumps,
                    shapes,
                    accelerator=self._resources.accelerator,
                    in_container=self._in_container,
                    environ=self._environ,
                )
            )
        for line in _doubts(shapes, place, self._resources):
            print(f"Warning: {line}", file=sys.stderr)
        with explained(f"can't write {place.shapes}"):
            write_shapes(place.shapes, shapes)
        write_record(place, 1, self._record(shapes))
        processes = f"{self._steps} step{'s' * (self._steps > 1)} of {len(dumps)} process{'es' * (len(dumps) > 1)}"
        print(shapes_table(shapes, title=f"GEMMs in {processes}"))
        print(f"\nWritten to {place.shapes}", flush=True)

    def _record(self, shapes: Shapes) -> dict[str, Any]:
        size = {"nnodes": self._resources.nnodes, "nproc_per_node": self._resources.nproc_per_node}
        return {
            "experiment": self._experiment.exp_name,
            "backend": self._backend.name,
            **size,
            "steps": self._steps,
            "inputs": self._inputs(),
            "shapes": len(shapes.uses),
            "predicted": predicted(self._backend, self._experiment, **size),
        }

    def _inputs(self) -> str:
        """Equal for two runs of stage 1 that dump the same."""
        return inputs_of(self._experiment, self._resources, self._steps)


def _doubts(shapes: Shapes, place: Place, resources: Resources) -> list[str]:
    """What may be missing in a dump that is not empty."""
    found = []
    absent = [node for node in range(resources.nnodes) if not any(place.node(node).glob("*")) and resources.nnodes > 1]
    if absent:
        names = ", ".join(f"node{node}" for node in absent)
        found.append(
            f"no dumps of {names} in {place.dumps}: the workspace is not shared between the nodes, or nothing was "
            "multiplied there. Shapes that only they have are missing."
        )
    if shapes.files < resources.world_size and not absent:
        found.append(f"{shapes.files} dumps of {resources.world_size} processes: the others called no hipBLASLt")
    if shapes.torn:
        places = "; ".join(each for each in shapes.examples if ": torn" in each)
        found.append(f"{shapes.torn} torn line{'s' * (shapes.torn > 1)} left out: {places}")
    if shapes.foreign:
        found.append(f"{shapes.foreign} lines that are not hipBLASLt's left out")
    if shapes.unknown:
        names = ", ".join(sorted(shapes.unknown))
        found.append(f"options unknown to this Primus, taken as part of the problems: {names}")
    return found

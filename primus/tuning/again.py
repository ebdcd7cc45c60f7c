"""Whether stage 1 need not be repeated. `primus tune --stage all` asks; stage 2 has a journal of its own."""

from __future__ import annotations

from collections.abc import Mapping

from primus.experiment import Experiment
from primus.job import Resources
from primus.tuning.place import place_of
from primus.tuning.record import read_record
from primus.tuning.stage1 import stage1_inputs


def dumped_before(
    experiment: Experiment, *, nnodes: int, nproc_per_node: int, steps: int, environ: Mapping[str, str]
) -> str | None:
    """What there is, in words; None when the shapes are not there, or were dumped from something else."""
    place = place_of(experiment, environ)
    record = read_record(place, 1)
    resources = Resources(nnodes=nnodes, nproc_per_node=nproc_per_node)
    if record is None or not place.shapes.exists():
        return None
    if record.get("inputs") != stage1_inputs(experiment, resources, steps):
        return None
    return f"{record['shapes']} shapes in {place.shapes}, of {record['time']}"

"""From `--tune-stage` to the stage of a training. `primus train` calls it when there is a number."""

from __future__ import annotations

from collections.abc import Mapping

from primus.backends.base import Backend
from primus.errors import UsageError
from primus.experiment import Experiment
from primus.job import Resources
from primus.launch.stage import Stage
from primus.tuning.place import place_of
from primus.tuning.stage1 import Dump
from primus.tuning.stage3 import Use
from primus.tuning.use import Ask


def stage_of(
    number: int,
    *,
    backend: Backend,
    experiment: Experiment,
    resources: Resources,
    steps: int,
    force: bool,
    insists_on_checkpoint: bool,
    inside: Ask | None,
    environ: Mapping[str, str],
) -> Stage:
    """Stage 1 or 3 for this experiment, as the user wrote it."""
    place = place_of(experiment, environ)
    if number == 3:
        return Use(
            place=place,
            backend=backend,
            experiment=experiment,
            node_rank=resources.node_rank,
            force=force,
            inside=inside,
            environ=environ,
        )
    if insists_on_checkpoint:
        raise UsageError("--resume: stage 1 of the tuning trains a few steps from zero; leave it out")
    return Dump(
        place=place,
        backend=backend,
        experiment=experiment,
        resources=resources,
        steps=steps,
        in_container=inside is not None,
        environ=environ,
    )

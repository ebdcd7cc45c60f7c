"""What each stage notes of its last run, `stage<n>.json`: for which experiment, on how many processes, what came of it.
By that a stage is not repeated in vain, and files of another model are known as such."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from primus.backends.base import Backend
from primus.errors import MissingError, PrimusError
from primus.experiment import Experiment, dump
from primus.job import Resources
from primus.run import explained, utc_now, write_text
from primus.tuning.place import Place
from primus.tuning.predict import predict_shapes

Record = dict[str, Any]


def inputs_of(experiment: Experiment, resources: Resources, *more: object) -> str:
    """The same for two runs of a stage that would do the same."""
    what = (dump(experiment), resources.nnodes, resources.nproc_per_node, *more)
    return hashlib.sha256(repr(what).encode()).hexdigest()


def predicted(backend: Backend, experiment: Experiment, *, nnodes: int, nproc_per_node: int) -> list[str]:
    """The GEMMs of the experiment in words: what tells one model from another."""
    resources = Resources(nnodes=nnodes, nproc_per_node=nproc_per_node, accelerator="amd")
    shapes, _ = predict_shapes(backend, experiment, resources)
    return sorted({gemm.title for gemm in shapes.uses})


def write_record(place: Place, stage: int, record: Record) -> None:
    path = place.record(stage)
    with explained(f"can't write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"time": utc_now(), **record}, indent=2) + "\n")


def read_record(place: Place, stage: int) -> Record | None:
    """None when the stage has never ended here."""
    path = place.record(stage)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PrimusError(f"{path}: {error}. Remove it, and run stage {stage} again.") from None
    if not isinstance(found, dict):
        raise PrimusError(f"{path}: expected an object. Remove it, and run stage {stage} again.")
    return found


def other_model(place: Place, backend: Backend, experiment: Experiment) -> str | None:
    """Why the dumped shapes are not those of this experiment; None when they are, or when nothing is noted of them."""
    record = read_record(place, 1)
    if record is None or not record.get("predicted"):
        return None
    size = {name: int(record[name]) for name in ("nnodes", "nproc_per_node")}
    now, then = set(predicted(backend, experiment, **size)), set(record["predicted"])
    if now == then:
        return None
    example = min(now - then or then - now)
    which = "has" if example in now else "has no"
    return (
        f"{place.shapes} was dumped for another model: {record['experiment']}, on {record['time']}. "
        f"{experiment.exp_name} {which} {example}, for instance. Dump its own shapes with stage 1, or name another "
        "folder with PRIMUS_MODEL"
    )


def refuse_other_model(place: Place, backend: Backend, experiment: Experiment, *, force: bool) -> list[str]:
    """Warnings, where it is forced; MissingError for shapes of another model otherwise."""
    reason = other_model(place, backend, experiment)
    if reason is not None and not force:
        raise MissingError(f"{reason}; --tune-force (--force of primus tune) takes them as they are.")
    return [] if reason is None else [reason]

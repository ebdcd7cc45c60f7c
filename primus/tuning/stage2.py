"""Stage 2 on this node: the shapes of stage 1, tuned by tune/. `primus train --tune-stage 2` calls it; variables carry
the settings of `primus tune` to wherever that is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from primus.backends.base import Backend
from primus.errors import MissingError, UsageError
from primus.experiment import Experiment
from primus.tuning.place import Place
from primus.tuning.record import refuse_other_model, write_record
from primus.tuning.tune import Outcome, TuneRequest


def tune_node(
    place: Place,
    backend: Backend,
    experiment: Experiment,
    *,
    node_rank: int,
    force: bool,
    environ: Mapping[str, str],
    tune: Callable[[TuneRequest], Outcome],
) -> int:
    """Tune what stage 1 dumped; the exit status. Of several nodes, the first one does it."""
    if node_rank:
        print(f"Stage 2 tunes on node 0; there is nothing to do for node {node_rank}.")
        return 0
    if not place.shapes.exists():
        raise MissingError(
            f"{place.shapes} is not there: run stage 1 first, or predict the shapes without a GPU: "
            f"primus tune shapes --exp FILE -o {place.shapes}"
        )
    for warning in refuse_other_model(place, backend, experiment, force=force):
        print(f"Warning: stage 2: {warning}", file=sys.stderr)
    request = tune_request(place, environ)
    outcome = tune(request)
    for message in outcome.messages:
        print(message)
    write_record(
        place, 2, {"experiment": experiment.exp_name, "max_workspace": request.max_workspace, **_counts(outcome)}
    )
    return outcome.status


def tune_request(place: Place, environ: Mapping[str, str]) -> TuneRequest:
    """What the variables ask for."""
    request = TuneRequest(shapes=place.shapes, results=place.results)
    for name, (field, read) in SETTINGS.items():
        text = environ.get(name)
        if text:
            try:
                value = read(text)
            except ValueError as error:
                raise UsageError(f"{name}={text}: {error}") from None
            request = replace(request, **{field: value})
    return request


def _counts(outcome: Outcome) -> dict[str, Any]:
    names = ("kept", "same", "failed", "left", "status")
    return {name: getattr(outcome, name) for name in names} | {"report": str(outcome.report)}


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return read


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ValueError("expected a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    return float(_positive(text))


def _files(text: str) -> frozenset[str]:
    return frozenset(map(_one_of("te", "tunableop"), text.split(",")))


SETTINGS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "PRIMUS_TUNE_ENGINE": ("engine", _one_of("auto", "bench", "library")),
    "PRIMUS_TUNE_GPUS": ("gpus", _positive),
    "PRIMUS_TUNE_TIME_LIMIT": ("time_limit", _seconds),
    "PRIMUS_TUNE_WORKSPACE": ("max_workspace", _positive),
    "PRIMUS_TUNE_ALSO": ("also", _files),
    "PRIMUS_TUNE_FRESH": ("fresh", lambda text: text == "1"),
    "PRIMUS_TUNE_ROCM": ("rocm", Path),
}
"""By variable: the field of TuneRequest, and how its text is read. `primus tune` sets them from its options."""

"""`python -m primus.tuning.inside FOLDER`: one request of container.py, answered inside of the container, where the
library and the bench are. The request and the answer are files, since a container's input carries signals."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from primus.errors import PrimusError
from primus.lifeline import die_with_parent
from primus.run import write_text
from primus.tuning.installed import ASKING_SECONDS
from primus.tuning.measure_process import Failure, ask
from primus.tuning.tune import Outcome, TuneRequest, run

REQUEST, ANSWER = "request.json", "answer.json"


def main() -> int:
    """Answer the request in the folder; errors that are the user's are an answer, too."""
    die_with_parent()
    folder = Path(sys.argv[1])
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    try:
        answer = {"outcome": as_json(run(_tune_request(request["tune"])))} if "tune" in request else _ask(request)
    except PrimusError as error:
        answer = {"error": str(error), "status": int(error.status)}
    write_text(folder / ANSWER, json.dumps(answer) + "\n")
    return 0


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    answer = ask(request, timeout=ASKING_SECONDS)
    return {"failure": asdict(answer)} if isinstance(answer, Failure) else {"answer": answer}


def as_outcome(value: dict[str, Any]) -> Outcome:
    """What came back."""
    paths = {name: Path(value[name]) for name in ("results", "report")}
    return Outcome(**{**value, **paths, "messages": tuple(value["messages"])})


def _tune_request(value: dict[str, Any]) -> TuneRequest:
    paths = {name: Path(value[name]) for name in ("shapes", "results", "rocm") if value[name] is not None}
    return TuneRequest(**{**value, **paths, "also": frozenset(value["also"])})


def as_json(value: TuneRequest | Outcome) -> dict[str, Any]:
    """One of the two as it goes in or comes out."""
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    changed = {name: str(each) for name, each in found.items() if isinstance(each, Path)}
    return {**found, **changed, **{name: sorted(each) for name, each in found.items() if isinstance(each, frozenset)}}


if __name__ == "__main__":
    sys.exit(main())

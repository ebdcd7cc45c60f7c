"""`python -m primus.tuning.child`: one request on stdin, one JSON result as the last line of stdout.

What touches a GPU happens here, so that a kernel that crashes or hangs takes nothing else along. measure_process.py
starts it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from primus.errors import PrimusError, UsageError
from primus.lifeline import die_with_parent
from primus.tuning.gemm import Gemm
from primus.tuning.hip import Hip, HipError, HipStatus
from primus.tuning.hipblaslt.abi import Status
from primus.tuning.hipblaslt.library import HipblasLt, HipblasLtError
from primus.tuning.measure import MeaninglessResultError, NoSolutionError, Settings, measure
from primus.tuning.measure_problem import UnsupportedProblemError, check, describe, for_architecture

OVERRIDE_FILE = "HIPBLASLT_TUNING_OVERRIDE_FILE"

DISTURBING = ("HIPBLASLT_LOG_", "HIPBLASLT_TUNING_")
"""Variables that would change what is measured, or fill a log with every launch."""

HIP_KINDS = {
    HipStatus.NO_DEVICE: "no-device",
    HipStatus.INVALID_DEVICE: "no-device",
    HipStatus.OUT_OF_MEMORY: "out-of-memory",
    HipStatus.ILLEGAL_ADDRESS: "device-fault",
    HipStatus.LAUNCH_FAILURE: "device-fault",
}

LIBRARY_KINDS = {
    Status.ALLOC_FAILED: "out-of-memory",
    Status.EXECUTION_FAILED: "device-fault",
    Status.NOT_SUPPORTED: "unsupported",
    Status.ARCH_MISMATCH: "unsupported",
}


def main() -> int:
    """Answer one request. The library's own output goes to stderr, so that stdout has results only."""
    die_with_parent()
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1) as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            answer = {"status": "done", **_perform(sys.stdin.read(), answers)}
        except PrimusError as error:
            answer = {"status": "failed", "kind": kind_of(error), "message": str(error)}
        answers.write(json.dumps(answer) + "\n")
    return 0


def kind_of(error: PrimusError) -> str:
    """One word for the tuner's tables."""
    match error:
        case HipError():
            return HIP_KINDS.get(HipStatus(error.code), "hip") if error.code in set(HipStatus) else "hip"
        case HipblasLtError():
            return LIBRARY_KINDS.get(Status(error.code), "library") if error.code in set(Status) else "library"
        case NoSolutionError():
            return "no-solution"
        case UnsupportedProblemError():
            return "unsupported"
        case MeaninglessResultError():
            return "meaningless"
        case UsageError():
            return "bad-request"
        case _:
            return "missing"


def _perform(text: str, answers: TextIO) -> dict[str, Any]:
    try:
        request = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the request is no JSON: {error}") from None
    action = ACTIONS.get(_field(request, "do"))
    if action is None:
        raise UsageError(f"unknown request {request['do']!r}, known are {', '.join(ACTIONS)}")
    return action(request, answers)


def _field(request: Mapping[str, Any], name: str) -> Any:
    if name not in request:
        raise UsageError(f"the request has no {name!r}")
    return request[name]


def _gemm(value: Any) -> Gemm:
    try:
        return Gemm.from_json(value)
    except ValueError as error:
        raise UsageError(f"the request's problem: {error}") from None


def _settings(value: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**{**value, "skip": tuple(value.get("skip", ()))})
    except TypeError as error:
        raise UsageError(f"the request's settings: {error}") from None


def _load(request: Mapping[str, Any]) -> tuple[Hip, HipblasLt]:
    """The two libraries: of a folder that the request names, or those of this machine, on the first visible device."""
    folder = Path(request["libraries"]) if request.get("libraries") else None
    hip = Hip.load(folder)
    if not hip.device_count():
        raise HipError("hipGetDeviceCount", HipStatus.NO_DEVICE, "hipErrorNoDevice", "no GPU is visible")
    hip.set_device(0)
    return hip, HipblasLt.load(folder)


def _describe(request: Mapping[str, Any], answers: TextIO) -> dict[str, Any]:
    """The library's build and the devices."""
    hip, library = _load(request)
    with library.create() as handle:
        found = {"version": handle.version, "git_revision": handle.git_revision}
    devices = []
    for number in range(hip.device_count()):
        properties = hip.properties(number)
        devices.append({name.name: getattr(properties, name.name) for name in fields(properties)})
    return {**found, "runtime": hip.runtime_version(), "devices": devices}


def _measure(request: Mapping[str, Any], answers: TextIO) -> dict[str, Any]:
    gemm, settings = _gemm(_field(request, "gemm")), _settings(_field(request, "settings"))
    for name in [name for name in os.environ if name.startswith(DISTURBING)]:
        del os.environ[name]
    check(gemm)
    hip, library = _load(request)

    def trying(index: int) -> None:
        answers.write(json.dumps({"trying": index}) + "\n")

    return {"measurement": measure(hip, library, gemm, settings, trying).to_json()}


def _choose(request: Mapping[str, Any], answers: TextIO) -> dict[str, Any]:
    """Which solution the library itself takes for each problem: with an override file set, whether it is used."""
    gemms, limit = [_gemm(each) for each in _field(request, "gemms")], _field(request, "max_workspace")
    hip, library = _load(request)
    arch = hip.properties(0).arch
    with library.create() as handle, library.preference(limit) as preference:
        return {"indices": [_choice(handle, preference, each, arch) for each in gemms]}


def _choice(handle: Any, preference: Any, gemm: Gemm, arch: str) -> int | None:
    """None for a problem without a solution, and for one that the C interface can't express."""
    try:
        check(gemm)
    except UnsupportedProblemError:
        return None
    with contextlib.ExitStack() as stack:
        desc, layouts = describe(stack, handle, for_architecture(gemm, arch))
        found = handle.heuristics(desc, layouts, preference, requested=1)
    return found[0].algo.index if found else None


ACTIONS: dict[str, Callable[[Mapping[str, Any], TextIO], dict[str, Any]]] = {
    "describe": _describe,
    "measure": _measure,
    "choose": _choose,
}

if __name__ == "__main__":
    sys.exit(main())

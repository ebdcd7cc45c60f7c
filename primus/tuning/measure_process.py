"""Runs child.py for one request with a time limit, and says how it ended. The `library` engine calls it per shape."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.lifeline import PARENT_VARIABLE
from primus.tuning.gemm import Gemm
from primus.tuning.measure import Settings

CRASHES_FORGIVEN = 3
"""Solutions of one problem that may crash their process, each left out the next time, before we give up."""

_ERROR_LINES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why there is no answer."""

    kind: str
    """timeout, crashed, no-solution, unsupported, meaningless, out-of-memory, no-device, device-fault, library, hip,
    missing, bad-request; no-row of the bench engine."""

    message: str
    trying: int | None = None
    """The solution that was the last to be tried."""

    crashed: bool = False
    """Whether the process ended without an answer, by a signal or by itself."""


def measure_in_child(
    gemm: Gemm,
    settings: Settings,
    *,
    timeout: float,
    libraries: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    started: Callable[[subprocess.Popen[str]], None] = lambda child: None,
) -> dict[str, Any] | Failure:
    """A Measurement as JSON, of the first device that `environ` leaves visible. A solution that crashes is left out."""
    skip = list(settings.skip)
    end = time.monotonic() + timeout
    while True:
        options = {name: getattr(settings, name) for name in settings.__slots__} | {"skip": skip}
        request = {"do": "measure", "gemm": gemm.to_json(), "settings": options}
        left = max(end - time.monotonic(), 0.0)
        answer = ask(request, timeout=left, libraries=libraries, environ=environ, started=started)
        if not isinstance(answer, Failure):
            crashed = {str(index): "it crashed" for index in skip}
            found: dict[str, Any] = answer["measurement"]
            return found | {"rejected": crashed | found["rejected"]}
        if not answer.crashed or answer.trying is None or len(skip) - len(settings.skip) >= CRASHES_FORGIVEN:
            return answer
        skip.append(answer.trying)


def ask(
    request: Mapping[str, Any],
    *,
    timeout: float,
    libraries: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    started: Callable[[subprocess.Popen[str]], None] = lambda child: None,
) -> dict[str, Any] | Failure:
    """Send one request (`describe`, `measure`, `choose`) to a new child and wait for its answer. `started` gets the
    process; what it raises ends that."""
    text = json.dumps({**request, "libraries": str(libraries) if libraries else None})
    command = [sys.executable, "-m", "primus.tuning.child"]
    environment = {**environ, PARENT_VARIABLE: str(os.getpid())}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment) as child:
        try:
            started(child)
            out, err = child.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, _ = child.communicate()
            trying = _trying(out)
            during = "" if trying is None else f", while solution {trying} ran"
            return Failure(kind="timeout", message=f"no answer within {timeout:.3g} s{during}", trying=trying)
        except BaseException:  # interrupted: do not wait for it
            child.kill()
            raise
    return _answer(child.returncode, out, err)


def _answer(code: int, out: str, err: str) -> dict[str, Any] | Failure:
    lines = out.splitlines()
    last = json.loads(lines[-1]) if lines and code == 0 else {}
    match last.get("status"):
        case "done":
            return {name: value for name, value in last.items() if name != "status"}
        case "failed":
            return Failure(kind=last["kind"], message=last["message"], trying=_trying(out))
    trying = _trying(out)
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    during = "" if trying is None else f" while solution {trying} ran"
    said = "; ".join(err.splitlines()[-_ERROR_LINES:])
    message = f"the process {ended}{during}{': ' if said else ''}{said}"
    return Failure(kind="crashed", message=message, trying=trying, crashed=True)


def _trying(out: str) -> int | None:
    """Of the last whole line that says so."""
    for line in reversed(out.splitlines()):
        if line.startswith('{"trying": ') and line.endswith("}"):
            return int(json.loads(line)["trying"])
    return None
